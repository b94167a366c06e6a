"""What the command line can do: a module for each command, imported when it is called."""

export default {
  render({ model, el }) {
    const waiting = h("p", { class: "status", role: "status" });
    const story = h("p", { class: "panelstory", role: "status", "aria-live": "polite", "aria-atomic": "true" });
    const picture = h("div", { class: "panelpicture" });
    const buttons = new Map();

    const press = (name) => {
      if (!model.get("off").includes(name)) ask(model, { do: "press", name }, waiting);
    };
    const bars = model.get("groups").map(([legend, names]) => {
      const made = names.map((name) => {
        const button = h("button", { type: "button", onclick: () => press(name) }, name);
        buttons.set(name, button);
        return button;
      });
      return h("div", { class: "bar", role: "group", "aria-label": legend }, h("span", { class: "legend" }, legend), ...made);
    });
    el.append(frame(model.get("label"), ...bars, story, picture, waiting));

    const endings = [
      follow(model, ["html"], () => (picture.innerHTML = model.get("html"))),
      follow(model, ["story"], () => (story.textContent = model.get("story"))),
      follow(model, ["off"], () => {
        for (const [name, button] of buttons) button.setAttribute("aria-disabled", model.get("off").includes(name));
      }),
    ];
    return () => endings.forEach((end) => end());
  },
};

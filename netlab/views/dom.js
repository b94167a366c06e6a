/** An element with attributes, listeners (`onclick: f`) and children; `false` and `null` attributes are left out. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

let lastId = 0;
/** An id that no other widget on the page has. */
const newId = (name) => `netlab-${name}-${++lastId}`;

const UNSHORTENED = "data-lm-suppress-shortcuts";

/**
 * The widget's outermost element. A key pressed in it is the widget's: without the attribute on the focused element
 * JupyterLab would take "d d" for "delete this cell". Ctrl and Command still reach JupyterLab (Ctrl+S saves).
 */
function frame(label, ...children) {
  const own = (event) => event.target.toggleAttribute?.(UNSHORTENED, !(event.ctrlKey || event.metaKey));
  const listeners = { onfocusin: own, onkeydown: own, onkeyup: own };
  return h("div", { class: "netlab", role: "group", "aria-label": label, ...listeners }, ...children);
}

/** Call `update` now and whenever one of these traits changes; returns the function that ends it. */
function follow(model, traits, update) {
  for (const trait of traits) model.on(`change:${trait}`, update);
  update();
  return () => traits.forEach((trait) => model.off(`change:${trait}`, update));
}

/** Ask Python for something, and say so if it does not answer: it may be busy with another cell, or gone. */
function ask(model, message, status) {
  const slow = setTimeout(() => {
    status.textContent = "Waiting for Python: another cell may be running. If nothing happens, run this cell again.";
  }, 1500);
  const answered = () => {
    clearTimeout(slow);
    status.textContent = "";
    model.off("change", answered);
  };
  model.on("change", answered);
  model.send(message);
}

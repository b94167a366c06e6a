export default {
  render({ model, el }) {
    const steps = player(model);
    el.append(frame(`Journey: ${model.get("title")}`, h("p", { class: "head" }, model.get("title")), steps.root));
    return steps.end;
  },
};

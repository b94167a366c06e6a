export default {
  render({ model, el }) {
    const status = h("p", { class: "status", role: "status" });
    const body = h("div", {});
    el.append(frame("Prediction", body, status));
    const endings = [];
    let steps = null;

    function asking() {
      const group = newId("choice");
      const choices = model.get("choices").map((choice) =>
        h("label", { class: "choice" }, h("input", { type: "radio", name: group, value: choice }), choice),
      );
      const lock = (event) => {
        event.preventDefault();
        const chosen = body.querySelector("input:checked");
        if (!chosen) status.textContent = "Choose an answer first; “I don't know” is one too.";
        else ask(model, { do: "lock", choice: chosen.value }, status);
      };
      body.replaceChildren(
        h(
          "form",
          { onsubmit: lock },
          h("fieldset", {}, h("legend", {}, model.get("question")), ...choices),
          h("button", { type: "submit", class: "primary" }, "Lock my prediction"),
        ),
      );
    }

    function revealed() {
      const outcome = h("div", { class: "outcome" });
      const remark = h("p", { class: "remark", role: "status" });
      const count = model.get("stops").length;
      steps?.end();
      steps = null;
      if (count) {
        steps = player(model);
        outcome.append(steps.root);
        endings.push(
          follow(model, ["at"], () => {
            const over = model.get("at") >= count - 1;
            remark.textContent = over ? model.get("remark") : "Step through what happens, to its end.";
          }),
        );
      } else {
        outcome.innerHTML = model.get("html");
        remark.textContent = model.get("remark");
      }
      const answer = h("p", { class: "locked", tabindex: "-1" }, "You predicted: ", h("strong", {}, model.get("chosen")));
      const had = el.contains(document.activeElement);
      body.replaceChildren(
        h("p", { class: "question" }, model.get("question")),
        answer,
        remark,
        outcome,
      );
      if (had) answer.focus();
    }

    endings.push(follow(model, ["locked"], () => (model.get("locked") ? revealed() : asking())));
    return () => {
      endings.forEach((end) => end());
      steps?.end();
    };
  },
};

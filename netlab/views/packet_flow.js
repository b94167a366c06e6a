const ANOTHER = "another";

export default {
  render({ model, el }) {
    const status = h("p", { class: "status", role: "status" });
    const body = h("div", {});
    el.append(frame(`Packet flow through ${model.get("host")}`, body, status));
    let end = null;
    let chosen = {}; // what the form held, for the next packet
    const send = (message) => ask(model, message, status);

    function stage() {
      const hadFocus = el.contains(document.activeElement);
      end?.();
      const show = { build: building, predict: predicting, watch: watching }[model.get("stage")];
      const { parts, focus, end: ending } = show();
      end = ending;
      body.replaceChildren(...parts);
      if (hadFocus) focus();
    }

    // ---------------------------------------------------------------- 1. the packet

    function building() {
      const source = place("Source", "src", model.get("sources"), "the source's address");
      const way = select("It begins", "way", model.get("ways"));
      const target = place("Destination", "dst", model.get("destinations"), "the destination's address");
      const group = newId("proto");
      const protocols = model.get("protocols").map(([value, text]) =>
        h(
          "label",
          { class: "choice" },
          h("input", { type: "radio", name: group, value, checked: value === (chosen.proto ?? "udp") }),
          text,
        ),
      );
      const whole = h("p", { class: "problem", role: "alert" });
      way.row.hidden = source.list.value !== ANOTHER;
      source.list.addEventListener("change", () => (way.row.hidden = source.list.value !== ANOTHER));
      const submit = (event) => {
        event.preventDefault();
        const proto = form.querySelector("input[type=radio]:checked").value;
        chosen = { proto, src: source.list.value, dst: target.list.value, typedsrc: source.text.value, typeddst: target.text.value };
        const free = source.list.value === ANOTHER;
        chosen.way = way.list.value;
        send({ do: "build", src: source.value(), dst: target.value(), proto, ...(free ? { way: way.list.value } : {}) });
      };
      const form = h(
        "form",
        { class: "builder", onsubmit: submit, novalidate: true },
        h(
          "fieldset",
          {},
          h("legend", {}, "Build a packet"),
          h("div", { class: "fields" }, source.row, way.row, target.row),
          h("div", { class: "choices", role: "radiogroup", "aria-label": "Protocol" }, ...protocols),
          whole,
        ),
        h("button", { type: "submit", class: "primary" }, model.get("wants") === "prediction" ? "Predict its way" : "Send it"),
      );
      const fields = { src: source, dst: target, way };
      const ending = follow(model, ["problem"], () => {
        const { field, message } = model.get("problem");
        for (const [name, one] of Object.entries(fields)) one.complain(name === field ? message : "");
        whole.textContent = field && !(field in fields) ? message : "";
      });
      return { parts: [form, still()], focus: () => source.list.focus(), end: ending };
    }

    function select(label, name, options) {
      const id = newId(name);
      const list = h(
        "select",
        { id },
        ...options.map(([value, text]) =>
          h("option", { value, selected: value === chosen[name] }, /^[\d.]+$/.test(value) ? `${value}, ${text}` : text),
        ),
      );
      const trouble = h("p", { class: "problem", role: "alert", id: newId("problem") });
      const row = h("div", { class: "field" }, h("label", { for: id }, label), list, trouble);
      const complain = (message) => {
        trouble.textContent = message;
        for (const input of row.querySelectorAll("select, input")) {
          input.setAttribute("aria-invalid", String(Boolean(message)));
          input.setAttribute("aria-describedby", trouble.id);
        }
        if (message) (row.querySelector("input:not([hidden])") ?? list).focus();
      };
      return { row, list, complain };
    }

    /** A list of places, with a text field for any other address. */
    function place(label, name, options, what) {
      const field = select(label, name, [...options, [ANOTHER, "another address …"]]);
      const text = h("input", {
        type: "text", "aria-label": `Type ${what}`, placeholder: "10.0.1.2", autocomplete: "off", spellcheck: "false",
        value: chosen[`typed${name}`] ?? "",
      });
      const toggle = () => (text.hidden = field.list.value !== ANOTHER);
      toggle();
      field.list.addEventListener("change", toggle);
      field.list.after(text);
      return { ...field, text, value: () => (field.list.value === ANOTHER ? text.value : field.list.value) };
    }

    /** The map without a journey: with the numbers of a prediction, where there is one. */
    function still() {
      const maps = h("div", { class: "maps" });
      maps.innerHTML = model.get("maps");
      for (const svg of maps.querySelectorAll("svg")) {
        svg.setAttribute("aria-label", "Hook map: the five hooks and the ways between them");
      }
      return maps;
    }

    // ---------------------------------------------------------------- 2. the prediction

    function predicting() {
      const guess = [];
      const maps = still();
      const list = h("ol", { class: "guess", "aria-label": "Your prediction, in order" });
      const told = h("p", { class: "hidden", role: "status" });
      const hooks = model.get("hooks").map((name) =>
        h("button", { type: "button", onclick: () => change(() => guess.push(name), `${name} is number ${guess.length + 1}`) }, name),
      );
      const undo = h("button", { type: "button", onclick: () => change(() => guess.pop(), "Last one taken back") }, "Take back the last");
      const lock = h("button", { type: "button", class: "primary", onclick: () => guess.length ? send({ do: "lock", prediction: guess }) : remind() }, "Lock my prediction");
      const unsure = h("button", { type: "button", onclick: () => send({ do: "lock", prediction: null }) }, "I don't know, show me");
      const remind = () => (status.textContent = "Choose the hooks in order first, or say that you don't know.");
      function change(what, words) {
        what();
        status.textContent = "";
        told.textContent = words;
        list.replaceChildren(
          ...(guess.length ? guess.map((name) => h("li", {}, name)) : [h("li", { class: "empty" }, "nothing yet")]),
        );
        disable(undo, !guess.length);
        disable(lock, !guess.length);
        for (const place of maps.querySelectorAll(".place.hook")) {
          const name = place.querySelector(".name").textContent;
          const order = guess.flatMap((one, number) => (one === name ? [number + 1] : [])).join(", ");
          place.classList.toggle("guessed", order !== "");
          place.querySelector(".badge text").textContent = order;
        }
      }
      change(() => {}, "");
      const form = h(
        "div",
        { class: "builder", role: "group", "aria-label": "Predict" },
        h("p", { class: "subject" }, "The packet: ", h("code", {}, model.get("packet"))),
        h(
          "fieldset",
          {},
          h("legend", {}, "Which hooks will it enter, in which order? Press them one after the other."),
          h("div", { class: "choices" }, ...hooks),
          list,
          told,
        ),
        h("div", { class: "choices" }, lock, undo, unsure, again("Change the packet")),
      );
      return { parts: [form, maps], focus: () => hooks[0].focus() };
    }

    // ---------------------------------------------------------------- 3. its way

    function watching() {
      const steps = player(model);
      const asked = model.get("wants") === "prediction";
      const guess = model.get("prediction");
      const passed = model.get("passed");
      const list = h("ol", { class: "guess", "aria-label": "Your prediction, compared with the way so far" });
      const remark = h("p", { class: "remark", role: "status" });
      const ending = follow(model, ["at", "stops"], () => {
        const stops = model.get("stops");
        if (!stops.length) return;
        const at = Math.min(model.get("at"), stops.length - 1);
        const own = stops.slice(0, at + 1).filter((stop) => stop.packet === 0).at(-1);
        const entered = own ? own.entered : 0;
        const over = !stops.slice(at + 1).some((stop) => stop.packet === 0);
        list.replaceChildren(
          ...guess.map((name, number) => {
            const state = number < entered ? (name === passed[number] ? "right" : "wrong") : over ? "wrong" : "open";
            const words = { right: "✓ as predicted", wrong: `✗ it was ${passed[number] ?? "no further hook"}`, open: "" }[state];
            return h("li", { class: state }, name, words && h("span", { class: "words" }, ` ${words}`));
          }),
        );
        remark.textContent = over ? model.get("remark") : "";
      });
      const parts = [
        h("p", { class: "subject" }, "The packet: ", h("code", {}, model.get("packet"))),
        asked && h("div", { class: "compare" }, h("p", {}, guess.length ? "Your prediction, locked:" : "You said: I don't know. Watch it."), guess.length ? list : ""),
        asked && remark,
        steps.root,
        h("div", { class: "choices" }, again("Another packet")),
      ].filter(Boolean);
      return {
        parts,
        focus: steps.focus,
        end: () => {
          ending();
          steps.end();
        },
      };
    }

    const again = (label) => h("button", { type: "button", onclick: () => send({ do: "again" }) }, label);

    const ending = follow(model, ["stage"], stage);
    return () => {
      ending();
      end?.();
    };
  },
};

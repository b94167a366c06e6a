/**
 * Shows one stop of a journey at a time. Every stop comes from Python with all that is to be shown, so going to any stop
 * is the same work; the token's ride along the edges is decoration on top of it and never waited for.
 */
const SVG = "http://www.w3.org/2000/svg";
const ENVELOPE = '<rect x="-13" y="-9" width="26" height="18" rx="2"/><path d="M-13 -7.5L0 2.5L13 -7.5"/>';
const RIDE = 420; // milliseconds from one stop to the next

function player(model) {
  const maps = h("div", { class: "maps" });
  maps.innerHTML = model.get("maps");
  const tokens = [...maps.querySelectorAll("svg")].map(addToken);

  const first = button(["«", "First"], () => go(0));
  const back = button(["‹", "Back"], () => go(at() - 1));
  const next = button(["Forward", "›"], () => go(at() + 1), "primary");
  const last = button(["Last", "»"], () => go(stops().length - 1));
  const count = h("span", { class: "count" });
  const title = h("p", { class: "title" });
  const story = h("p", { class: "story", role: "status", "aria-live": "polite", "aria-atomic": "true" });
  const facts = h("dl", { class: "facts" });
  const rail = functionRail();
  const table = h("div", { class: "table", tabindex: "0", role: "group", "aria-label": "The journey as a table" });
  const root = h(
    "div",
    { class: "player", onkeydown: onKey },
    h("div", { class: "bar", role: "group", "aria-label": "Steps of the journey" }, first, back, next, last, count),
    maps,
    h("div", { class: "telling" }, h("div", { class: "now" }, title, story, facts), rail.root),
    h("details", {}, h("summary", {}, "Read the journey as a table"), table),
  );

  const stops = () => model.get("stops");
  const at = () => Math.min(model.get("at"), stops().length - 1);

  function go(to) {
    const stop = Math.max(0, Math.min(to, stops().length - 1));
    if (stop === at()) return;
    model.set("at", stop);
    model.save_changes();
  }

  function onKey(event) {
    const to = { ArrowLeft: at() - 1, ArrowRight: at() + 1, Home: 0, End: stops().length - 1 }[event.key];
    if (to === undefined || event.target === table || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    go(to);
  }

  let shown = -1;
  function show() {
    const all = stops();
    if (!all.length) return;
    const stop = all[at()];
    for (const [svg, token] of tokens) mark(svg, token, stop, at() === shown + 1 && shown >= 0);
    disable(first, at() === 0);
    disable(back, at() === 0);
    disable(next, at() === all.length - 1);
    disable(last, at() === all.length - 1);
    count.textContent = `Step ${at() + 1} of ${all.length}`;
    const whose = stop.packet ? `Packet ${stop.packet}, caused by it. ` : "";
    const chips = [
      stop.lap > 1 && h("span", { class: "chip" }, `lap ${stop.lap}`),
      stop.verdict && h("span", { class: `chip verdict ${stop.verdict.toLowerCase()}` }, stop.verdict),
    ];
    title.replaceChildren(
      h("strong", {}, stop.title),
      ...chips.filter(Boolean),
      h("span", { class: "where" }, `${stop.packet ? `packet ${stop.packet}, ` : ""}on ${stop.host}`),
    );
    story.textContent = `${whose}${stop.story}`;
    facts.replaceChildren(...stop.facts.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]));
    rail.show(model.get("rails")[stop.rail], stop);
    for (const row of table.querySelectorAll("tr[data-stop]")) {
      const current = Number(row.dataset.stop) === at();
      if (current) row.setAttribute("aria-current", "step");
      else row.removeAttribute("aria-current");
    }
    shown = at();
  }

  function load() {
    shown = -1;
    table.innerHTML = model.get("table");
    show();
  }

  const ends = [follow(model, ["stops"], load), follow(model, ["at"], show), rail.end];
  return { root, focus: () => next.focus(), end: () => ends.forEach((end) => end()) };
}

/** A button with a sign beside its name, which is left out when the name is read aloud. */
function button(parts, onclick, kind = "") {
  const text = parts.map((part) => h("span", { "aria-hidden": part.length === 1 && "true" }, part));
  return h("button", { type: "button", class: kind, onclick }, text[0], " ", text[1]);
}

/** Not the `disabled` attribute: that would throw away the keyboard's focus. */
const disable = (button, off) => button.setAttribute("aria-disabled", String(off));

function addToken(svg) {
  const token = document.createElementNS(SVG, "g");
  token.setAttribute("class", "token");
  token.innerHTML = ENVELOPE;
  svg.append(token);
  return [svg, token];
}

/** Mark on a map what this stop says, and put the token there; with `ride` let it be seen coming. */
function mark(svg, token, stop, ride) {
  for (const edge of svg.querySelectorAll(".edge")) {
    edge.classList.toggle("gone", stop.trail.includes(edge.dataset.edge));
  }
  for (const place of svg.querySelectorAll(".place")) {
    const { place: name } = place.dataset;
    const here = name === stop.place;
    place.classList.toggle("here", here);
    place.classList.toggle("been", name in stop.order);
    for (const end of ["drop", "delivered", "sent", "stolen"]) place.classList.toggle(end, here && stop.end === end);
    place.querySelector(".badge text").textContent = stop.order[name] ?? "";
    const [label, below] = stop.labels[name] ?? place.dataset.label.split("|");
    place.querySelector(".name").textContent = label;
    place.querySelector(".below").textContent = below;
  }
  svg.setAttribute("aria-label", `Hook map. ${stop.title}: ${stop.story}`);
  const [x, y] = svg.querySelector(`.place[data-place="${stop.place}"]`).dataset.rest.split(" ").map(Number);
  const rest = { x, y };
  token.setAttribute("transform", `translate(${x} ${y})`);
  for (const animation of token.getAnimations()) animation.cancel();
  if (ride && stop.via.length && !matchMedia("(prefers-reduced-motion: reduce)").matches && svg.getClientRects().length) {
    const points = [...stop.via.flatMap((edge) => pointsAlong(svg, edge)), rest];
    token.animate(
      points.map((point) => ({ transform: `translate(${point.x}px, ${point.y}px)` })),
      { duration: RIDE, easing: "ease-in-out" },
    );
  }
}

function pointsAlong(svg, edge) {
  const path = svg.querySelector(`.edge[data-edge="${edge}"] path`);
  const length = path.getTotalLength();
  return [0, 0.2, 0.4, 0.6, 0.8, 1].map((part) => path.getPointAtLength(part * length));
}

/** The functions on the hook where the packet is, first called on top, and the packet beside the one it is at. */
function functionRail() {
  const head = h("p", { class: "railhead" });
  const list = h("ol", {});
  const pocket = h("p", { class: "pocket" }, "Queue: the packet waits here for a program in userspace.");
  const carrier = h("span", { class: "carrier", "aria-hidden": "true" });
  carrier.innerHTML = `<svg viewBox="-15 -11 30 22"><g class="token">${ENVELOPE}</g></svg>`;
  const root = h("div", { class: "rail" }, head, h("div", { class: "track" }, list, pocket, carrier));
  let current = null;
  let beside = null;
  const place = () => {
    const inPocket = beside === pocket;
    carrier.style.translate = `${inPocket ? 14 : 0}px ${beside ? beside.offsetTop + 9 : -6}px`;
  };
  // Lines wrap and unwrap, and nothing has a place before the widget is on the page.
  const observer = new ResizeObserver(place);
  observer.observe(list);

  function show(rail, stop) {
    root.hidden = !rail;
    if (!rail) return;
    if (current !== rail) {
      current = rail;
      head.textContent = `Functions on ${rail.hook}, lowest priority first`;
      list.replaceChildren(...rail.functions.map(([priority, name]) => railItem(priority, name)));
    }
    pocket.hidden = stop.pocket !== "queue";
    [...list.children].forEach((item, number) => {
      const verdicts = stop.calls[stop.rail][number].split(" ").filter(Boolean);
      const here = number === stop.function && !stop.pocket;
      item.className = here ? "here" : verdicts.length ? "been" : "";
      if (here) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
      item.querySelector(".calls").textContent = here && !verdicts.length ? "is being called" : timesCalled(verdicts);
    });
    beside = pocket.hidden ? list.children[stop.function] : pocket;
    place();
  }

  return { root, show, end: () => observer.disconnect() };
}

function railItem(priority, name) {
  return h(
    "li",
    {},
    h("span", { class: "priority" }, String(priority)),
    h("span", { class: "function" }, name),
    h("span", { class: "calls" }),
  );
}

function timesCalled(verdicts) {
  if (!verdicts.length) return "not called yet";
  const times = verdicts.length === 1 ? "once" : verdicts.length === 2 ? "twice" : `${verdicts.length} times`;
  return `called ${times}: ${verdicts.join(", ")}`;
}

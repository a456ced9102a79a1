/** The page of the conferences: who is in, who speaks, and for how long; without reloading. */
import { allElements, findElement, targetOf } from "./dom.js";
import { follow, showConnection, whileSeen } from "./following.js";
import { listen } from "./listening.js";
import { toast, whenGone } from "./page.js";
import { Parts } from "./refreshing.js";
import { tick } from "./times.js";

const EVENTS = [
  ...["opened", "ended"],
  ...["changed", "ringing", "waiting", "joined", "left"],
  ...["muted", "unmuted", "held", "resumed", "talking"],
].map((name) => `conference.${name}`);
const TICK_EVERY_MS = 1000;

/** @param {HTMLElement} root */
export function mount(root) {
  const parts = new Parts();
  /** @type {Map<string, boolean>} who speaks, by member: newer than a part that is read meanwhile */
  const talking = new Map();
  const show = () => {
    tick(root, new Date());
    for (const [id, isTalking] of talking) showTalking(root, id, isTalking);
  };
  const stream = whileSeen(() =>
    follow(EVENTS, {
      receive: ({ type, data }) => {
        if (type !== "conference.talking") return change(root, parts, type, data.id);
        talking.set(data.member_id, data.talking);
        showTalking(root, data.member_id, data.talking);
      },
      opened: (mayHaveGap) => {
        showConnection(root, true);
        if (!mayHaveGap) return;
        talking.clear();
        changeAll(root, parts);
      },
      broke: () => showConnection(root, false),
    }),
  );
  root.addEventListener("click", clicked);
  const ticking = setInterval(show, TICK_EVERY_MS);
  whenGone(root, () => {
    stream.close();
    parts.close();
    clearInterval(ticking);
  });
}

/**
 * @param {HTMLElement} root
 * @param {string} memberId
 * @param {boolean} isTalking
 */
function showTalking(root, memberId, isTalking) {
  const speaks = findElement(root, `[data-member="${memberId}"] [data-speaks]`);
  if (speaks) speaks.hidden = !isTalking;
}

/**
 * Read again the conference that an event is about.
 *
 * @param {HTMLElement} root
 * @param {Parts} parts
 * @param {string} type
 * @param {string} id
 */
function change(root, parts, type, id) {
  const isKnown = findElement(root, `[data-conference="${id}"]`) !== null;
  const isOver = type === "conference.ended";
  // The list itself holds forms in which a person may be typing: leave it unless it is wrong.
  if (isKnown === isOver) parts.change("#conferences");
  else if (isKnown) parts.change(`#conference-${id}`);
}

/**
 * Read every conference again: the whole list, but each conference alone while a person is in a form.
 *
 * @param {HTMLElement} root
 * @param {Parts} parts
 */
function changeAll(root, parts) {
  const isTyping = root.querySelector("#conferences :focus") !== null;
  if (!isTyping) parts.change("#conferences");
  else for (const { id } of allElements(root, "[data-conference]")) parts.change(`#${id}`);
}

/** @param {Event} event */
async function clicked(event) {
  const button = targetOf(event)?.closest("button[data-listen]");
  if (!(button instanceof HTMLButtonElement)) return;
  const { listen: id = "", number } = button.dataset;
  const heard = listen({ id, caller: { number }, callee: {}, agent: null });
  await heard.catch((error) => toast(error.message, { bad: true }));
}

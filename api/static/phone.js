/** The part of the live page in which a person names a phone and checks the microphone. */
import { getElement } from "./dom.js";
import { meterOf } from "./meters.js";
import { toast } from "./page.js";

const PHONE = "earwitness-phone"; // the key in the storage of the browser
export const BROWSER = "browser";

/** Return where the person listens: a phone such as `PJSIP/9001`, or "browser". */
export function destination() {
  return localStorage.getItem(PHONE) || BROWSER;
}

/** @param {HTMLElement} root */
export function mount(root) {
  const phone = getElement(root, "#phone", HTMLInputElement);
  phone.value = localStorage.getItem(PHONE) ?? "";
  phone.addEventListener("change", () => localStorage.setItem(PHONE, phone.value.trim()));
  const button = getElement(root, "[data-check]");
  const meter = getElement(root, "meter[name=check]", HTMLMeterElement);
  button.addEventListener("click", async () => {
    if (isPressed(button)) {
      button.setAttribute("aria-pressed", "false");
      return;
    }
    const { microphone, insecure } = getElement(document, "#bar").dataset;
    if (!window.isSecureContext) toast(insecure, { bad: true });
    else await check(button, meter).catch(({ name }) => toast(`${microphone} ${name}`, { bad: true }));
  });
}

/** @param {HTMLElement} button */
function isPressed(button) {
  return button.getAttribute("aria-pressed") === "true";
}

/**
 * Show how loud the microphone is until the button is pressed again. The sound goes nowhere else.
 *
 * @param {HTMLElement} button
 * @param {HTMLMeterElement} meter
 */
async function check(button, meter) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const release = () => stream.getTracks().forEach((track) => track.stop());
  if (!button.isConnected) {
    release(); // the person left the page while the browser asked for permission
    return;
  }
  const context = new AudioContext();
  const show = meterOf(meter, new MediaStreamAudioSourceNode(context, { mediaStream: stream }));
  button.setAttribute("aria-pressed", "true");
  const draw = () => {
    show();
    if (button.isConnected && isPressed(button)) {
      requestAnimationFrame(draw);
      return;
    }
    release();
    context.close();
  };
  draw();
}

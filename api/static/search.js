/** The search form of a list. The address holds the search, and days begin in the viewer's time zone. */
import { findElement } from "./dom.js";

/** @param {HTMLFormElement} form */
export function mount(form) {
  // On a narrow screen, show the results first, unless the search has an error.
  const isNarrow = matchMedia("(max-width: 40rem)").matches;
  const details = findElement(form, "details", HTMLDetailsElement);
  if (details && isNarrow && !form.querySelector("[role=alert]")) details.open = false;
  const zone = findElement(form, "[name=zone]", HTMLInputElement);
  if (zone) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
  // Keep empty fields out of the address.
  form.addEventListener("submit", () => {
    const fields = [...form.elements].filter((field) => "disabled" in field && "value" in field);
    for (const field of fields) if (field.getAttribute("name") && !field.value) field.disabled = true;
    setTimeout(() => {
      for (const field of fields) field.disabled = false;
    });
  });
}

/** What was made and is told once, a link, a token or a secret, is shown to be copied. */
import { toast } from "./page.js";

export function mount(section) {
  section.addEventListener("acted", ({ detail }) => {
    const told = detail?.secret ?? detail?.token ?? detail?.url;
    if (!told) return;
    const made = section.querySelector("[data-made]");
    const field = made.querySelector("input");
    field.value = told;
    made.hidden = false;
    mark(field);
    made.querySelector("button").onclick = () => copy(field, made.dataset);
  });
}

/** Where the browser lets no page write there, the person does, with the keys. */
async function copy(field, { copied, marked }) {
  try {
    await navigator.clipboard.writeText(field.value);
    toast(copied);
  } catch {
    mark(field);
    toast(marked);
  }
}

function mark(field) {
  field.focus();
  field.select();
}

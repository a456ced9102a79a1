/** A form that narrows: the address holds what was asked. Its days are the viewer's, in their zone. */
export function mount(form) {
  // On a narrow screen what was found comes first; what is wrong with a search is shown.
  const narrow = matchMedia("(max-width: 40rem)").matches;
  const fields = form.querySelector("details");
  if (fields && narrow && !form.querySelector("[role=alert]")) fields.open = false;
  if (form.elements.zone) form.elements.zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
  form.addEventListener("submit", () => {
    for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    setTimeout(() => {
      for (const field of form.elements) field.disabled = false;
    });
  });
}

/** The days of a search are the viewer's: the form says in which zone. */
export function mount(form) {
  // On a narrow screen what was found comes first; what is wrong with a search is shown.
  const narrow = matchMedia("(max-width: 40rem)").matches;
  if (narrow && !form.querySelector("[role=alert]")) form.querySelector("details").open = false;
  form.elements.zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
  form.addEventListener("submit", () => {
    for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    setTimeout(() => {
      for (const field of form.elements) field.disabled = false;
    });
  });
}

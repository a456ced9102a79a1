/** The days of a search are the viewer's: the form says in which zone. */
export function mount(form) {
  form.elements.zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
  form.addEventListener("submit", () => {
    for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    setTimeout(() => {
      for (const field of form.elements) field.disabled = false;
    });
  });
}

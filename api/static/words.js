/** The page's words for what the service tells in short names: of a `kind`; "" where it has none. */
const words = JSON.parse(document.querySelector("#words").textContent);

export function wordsFor(kind, name) {
  return words[kind][name] ?? "";
}

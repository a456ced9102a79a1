/** The page's words for what the service tells in short names: of a `kind`; "" where it has none. */
const words = JSON.parse(document.querySelector("#words").textContent);

export function wordsFor(kind, name) {
  return words[kind][name] ?? "";
}

/** A sentence in which `{name}` is what `known` has under this name. */
export function filled(sentence, known) {
  return sentence.replace(/{(\w+)}/g, (_, name) => known[name]);
}

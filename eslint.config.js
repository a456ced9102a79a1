import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: [".venv/", ".cache/", "mutants/", "node_modules/", "var/"] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      curly: ["error", "multi-line"],
      eqeqeq: "error",
      "no-implicit-coercion": "error",
      "no-shadow": "error",
      "no-unneeded-ternary": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
    },
  },
  {
    files: ["api/static/*.js"],
    languageOptions: { globals: { ...globals.browser, htmx: "readonly" } },
  },
  {
    files: ["api/static/spy-worklet.js"],
    languageOptions: { globals: globals.audioWorklet },
  },
  {
    files: ["tests/js/*.js", "eslint.config.js"],
    languageOptions: { globals: globals.node },
  },
];

import js from "@eslint/js";

// Names are resolved by the type checker (tsconfig.json), which knows that the files of the circuit view share one scope.
export default [
  { ignores: ["**/node_modules/", ".venv/", "build/", "dist/"] },
  js.configs.recommended,
  {
    files: ["eapgp/**/*.js"],
    rules: {
      "no-undef": "off",
      "no-unused-vars": ["error", { vars: "local", argsIgnorePattern: "^_" }],
      eqeqeq: "error",
      "no-shadow": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
    },
  },
  {
    // Concatenated into one module by eapgp/figures/circuit_view/source.py; only the last one exports.
    files: ["eapgp/figures/circuit_view/*.js"],
    ignores: ["**/bridge.js"],
    languageOptions: { sourceType: "script" },
  },
];

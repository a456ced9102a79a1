// The server answers /static/…/vendor/wavesurfer.js from node_modules; this file has its types.
export { default } from "../../../node_modules/wavesurfer.js/dist/wavesurfer.js";

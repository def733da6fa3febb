// Data, parameters, and the buttons that start, stop and save a training.

/** Build it into `element`; returns what takes it away again. */
export function mountSetup(element, context) {
  return () => {};
}

// The live connection: a snapshot, then numbered deltas. Connects again by itself, and then begins with a new snapshot.

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;
const MOST_STEPS = 12000; // points kept in the page; beyond, every second one is dropped

const noCurve = () => ({
  steps: { step: [], epoch: [], elapsed_s: [], loss: [], learning_rate: [], grad_norm: [], tokens_per_s: [] },
  validations: [], samples: [], bits_per_nat_token: null,
});

/** Events: "view" (detail: Set of changed keys), "curve" (detail: {reset}), "changed" (detail: [what]), "connection". */
export class Live extends EventTarget {
  constructor() {
    super();
    this.view = null;
    this.curve = noCurve();
    this.connected = false;
    this.selected = null;
    this._wait = FIRST_WAIT_MS;
    this._expected = 0;
  }

  /** Follow the run with this id, or (null) whichever runs or is the newest. */
  select(run) {
    if (run === this.selected && this._socket) return;
    this.selected = run;
    this.view = null;
    this._wait = FIRST_WAIT_MS;
    this._connect();
  }

  _connect() {
    clearTimeout(this._timer);
    this._socket?.close();
    const query = this.selected ? `?run=${encodeURIComponent(this.selected)}` : "";
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/api/live${query}`);
    this._socket = socket;
    this._expected = 0;
    socket.onmessage = (message) => { if (socket === this._socket) this._take(JSON.parse(message.data)); };
    socket.onclose = () => {
      if (socket !== this._socket) return;
      this._told(false);
      this._timer = setTimeout(() => this._connect(), this._wait);
      this._wait = Math.min(LONGEST_WAIT_MS, this._wait * 2);
    };
  }

  _told(connected) {
    if (connected === this.connected) return;
    this.connected = connected;
    this.dispatchEvent(new CustomEvent("connection"));
  }

  _take(message) {
    if (message.n !== this._expected) { // a gap must never show as a wrong figure: begin anew
      this._socket.close();
      return;
    }
    this._expected += 1;
    this._wait = FIRST_WAIT_MS;
    this._told(true);
    if (message.type === "snapshot") {
      this.view = message.view;
      this.curve = { ...noCurve(), ...message.curve };
      this.dispatchEvent(new CustomEvent("view", { detail: new Set(Object.keys(message.view)) }));
      this.dispatchEvent(new CustomEvent("curve", { detail: { reset: true } }));
    } else if (message.type === "delta") {
      Object.assign(this.view, message.view);
      const keys = new Set(Object.keys(message.view ?? {}));
      if (keys.size) this.dispatchEvent(new CustomEvent("view", { detail: keys }));
      if (this._extend(message)) this.dispatchEvent(new CustomEvent("curve", { detail: { reset: false } }));
    } else if (message.type === "changed") {
      this.dispatchEvent(new CustomEvent("changed", { detail: message.what }));
    }
  }

  _extend({ steps, validations, samples, bits_per_nat_token: ratio }) {
    const own = this.curve.steps;
    if (steps) {
      for (const [name, values] of Object.entries(steps)) for (const value of values) own[name].push(value);
      if (own.step.length > MOST_STEPS) {
        for (const name of Object.keys(own)) own[name] = own[name].filter((_, i) => i % 2 === 1);
      }
    }
    if (validations) this.curve.validations.push(...validations);
    if (samples) this.curve.samples.push(...samples);
    if (ratio) this.curve.bits_per_nat_token = ratio;
    return Boolean(steps || validations || samples || ratio);
  }
}

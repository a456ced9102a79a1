/** Types for the modules in `static/`: globals of the browser, and resources of the API. */

/** The library htmx, which base.html loads before the modules. */
declare const htmx: {
  ajax(method: string, path: string, options: Record<string, unknown>): Promise<void>;
};

// The scope of an AudioWorklet, which TypeScript's "dom" library leaves out.
declare const sampleRate: number;
declare const currentTime: number;
declare abstract class AudioWorkletProcessor {
  readonly port: MessagePort;
  abstract process(inputs: Float32Array[][], outputs: Float32Array[][]): boolean;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

/** The fields of the API's resources that the pages read. docs/api.md describes all of them. */
declare namespace Api {
  interface Party {
    number?: string | null;
    name?: string | null;
  }

  interface Call {
    id: string;
    pbx: string;
    /** The pages add "left": the call goes on with another agent. */
    state: "ringing" | "up" | "ended" | "left";
    direction: string;
    caller: Party;
    callee: Party;
    agent: string | null;
    queue: string | null;
    did: string | null;
    started_at: string;
    answered_at: string | null;
    ended_at: string | null;
    activity: string | null;
    people: number;
    /** The ids of the other calls in the same conversation. */
    joined: string[];
    waiting: { queue: string; since: string } | null;
    /** "dialled" for a call that we set up. */
    trigger?: string | null;
    dial?: Dial | null;
  }

  /** How far a call is that we set up. */
  interface Dial {
    state: "requested" | "ringing" | "dialling" | "up" | "ended";
    number: string;
    cause: string | null;
    talked_at: string | null;
  }

  interface Conference {
    id: string;
    name: string;
    locked: boolean;
  }

  interface Recording {
    id: string;
    call_id: string;
    state: string;
  }

  interface Spy {
    id: string;
    call_id: string;
    mode: string;
    state: string;
    supervisor: string;
    destination: string;
    cause: string | null;
    unheard?: boolean;
    audio_url?: string | null;
  }

  interface Event {
    type: string;
    data: Record<string, any>;
  }

  /** A problem document (RFC 9457). `position` and `hint` belong to faults of a rule. */
  interface Problem {
    error_id?: string;
    title?: string;
    detail?: string;
    errors?: { loc: (string | number)[]; msg: string }[];
    position?: number | null;
    hint?: string | null;
  }
}

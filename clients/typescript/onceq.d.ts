/** Client and worker of onceq, over the HTTP of `onceq serve`. */

/** A length of time: "90s", "1h30m", "7d", or a number of milliseconds. */
export type Length = string | number
export type State = 'scheduled' | 'available' | 'running' | 'retryable' | 'completed' | 'discarded' | 'cancelled'
export type Outcome = 'inserted' | 'skipped' | 'rejected' | 'replaced' | 'coalesced' | 'superseded'

/** How a job is enqueued. What is not said is as the server's defaults say. */
export interface Options {
  queue?: string
  id?: string
  delay?: Length
  /** In place of `delay`. */
  run_at?: Date | string
  /** 0 (first) to 9. */
  priority?: number
  max_attempts?: number
  /** Of a run. */
  timeout?: Length
  /** How long a job that has completed is kept. */
  retention?: Length
  /** How long one is kept that has not. */
  retention_failed?: Length
  /** "10s,1h,3": first wait, longest wait, factor. */
  backoff?: string
  meta?: Record<string, unknown>
  tags?: string[]
  unique?: boolean
  by?: ('kind' | 'queue' | 'args' | 'meta')[]
  /** The key is made of these members of args. */
  fields?: string[]
  meta_fields?: string[]
  allow_blank?: boolean
  secret_key?: boolean
  /** A key of your own in place of args. */
  unique_key?: string
  unique_scope?: ('kind' | 'queue' | 'key')[]
  until?: 'due' | 'started' | 'finished' | 'succeeded' | 'failed' | 'deleted' | 'window-ends'
  window?: Length
  ttl?: Length
  from_enqueue?: boolean
  on_conflict?: 'skip' | 'reject' | 'coalesce' | 'supersede' | `replace:${string}` | `debounce:${string}`
}

/** One job of {@link Client.enqueueMany}. */
export interface JobInput extends Options {
  kind: string
  args?: unknown
}

/** Why an attempt failed. */
export interface AttemptError {
  attempt: number
  run: number
  at: string
  error: string
  stack?: string
}

/** A job. Instants are RFC 3339 in UTC, and lengths milliseconds. */
export interface Job<Args = unknown> {
  id: string
  kind: string
  queue: string
  state: State
  encoding?: 'json' | 'bytes'
  args?: Args
  args_base64?: string
  encoded_by?: string
  meta?: Record<string, unknown>
  tags?: string[]
  priority?: number
  attempt?: number
  max_attempts?: number
  run?: number
  timeout_ms?: number
  retention_ms?: number
  retention_failed_ms?: number
  key?: string
  key_text?: string
  behind?: string
  superseded_by?: string
  worker?: string
  cancel_requested?: boolean
  trace?: { traceparent: string, tracestate?: string }
  enqueued_at?: string
  run_at?: string
  started_at?: string
  finished_at?: string
  keep_until?: string
  errors?: AttemptError[]
  result?: unknown
}

/** Who has the key or the ID already, and what frees it. */
export interface Conflict {
  by: 'key' | 'id'
  holder: string
  args_differ: boolean
  key?: string
  key_text?: string
  holder_kind?: string
  state?: State
  gone?: boolean
  since?: string
  frees_at?: string
  frees_when?: string
  holder_due?: string
  keep_until?: string
  run_at_differs?: boolean
}

/** What an enqueue did. */
export interface Receipt {
  outcome: Outcome
  /** No job was made for this call. */
  duplicate: boolean
  /** The job that stands for it: the new one, or the holder. */
  job: Job
  conflict: Conflict | null
}

/** What an enqueue would do now, and why. */
export interface Explanation {
  outcome: Outcome
  key: string | null
  key_text?: string
  conflict: Conflict | null
  terms: Record<string, { value: unknown, from: string }>
  hint?: string
}

/** A problem document (RFC 9457), as docs/http.md describes it. */
export interface Problem {
  type: string
  title: string
  status: number
  detail: string
  request_id: string
  [member: string]: unknown
}

/** Any error of this module. */
export class OnceqError extends Error {}

/** The server refused a call. Its message is the reason. */
export class ProblemError extends OnceqError {
  constructor(problem: Problem)
  /** The whole document. */
  readonly problem: Problem
  /** "invalid", "duplicate" …: the problem's type without urn:onceq: */
  readonly type: string
  readonly status: number
  readonly detail: string
  /** The server's log has it too. */
  readonly requestId: string
  /** Of an invalid value. */
  readonly field: string | undefined
}

/** on_conflict: 'reject' met a job that is there already. */
export class DuplicateError extends ProblemError {
  readonly conflict: Conflict
  /** undefined: this token may not see it. */
  readonly job: Job | undefined
}

/** The server cannot be reached, and nothing has happened. */
export class UnavailableError extends OnceqError {}

/**
 * No answer came: the jobs may have been enqueued or not. The same call with this
 * idempotencyKey finds out, and makes no second job. It is undefined if the job is
 * not kept, so that nobody could know.
 */
export class UncertainError extends OnceqError {
  constructor(message: string, idempotencyKey: string | undefined, options?: { cause?: unknown })
  readonly idempotencyKey: string | undefined
}

/** The job that was waited for was discarded or cancelled. */
export class FailedError extends OnceqError {
  constructor(job: Job)
  readonly job: Job
}

/** The job that was waited for is not kept any more: how it ended is not known. */
export class GoneError extends OnceqError {}

/** It was not finished within the time that was said. */
export class TimeoutError extends OnceqError {}

/** Throw it in a handler: the job failed, and is not tried again. */
export class Discard extends OnceqError {}

/** Throw it in a handler: the job is cancelled. */
export class Cancel extends OnceqError {}

/** Throw it in a handler: run again after so many milliseconds. No attempt is spent. */
export class Snooze extends OnceqError {
  constructor(ms: number)
  readonly ms: number
}

export interface ClientConfig {
  /** Of the server; or set ONCEQ_URL. */
  url?: string
  /** What the server knows you by; or set ONCEQ_TOKEN. */
  token?: string
  /** How many milliseconds one call waits for its answer; 30000 unless said. */
  timeout?: number
}

export interface CallOptions {
  /** Names the call beyond this process: the same call gets the first answer again, as long as the job is kept. */
  idempotencyKey?: string
}

/** Calls an `onceq serve`. */
export class Client {
  constructor(config?: ClientConfig)
  readonly url: string

  /**
   * Make a job, unless it is there. args is any JSON; a Uint8Array stays as it is.
   * If the answer is lost the call is sent again, and no second job is made.
   */
  enqueue(kind: string, args?: unknown, options?: Options & CallOptions): Promise<Receipt>

  /** Make up to 10,000 jobs in one step. A rejected one is told by its outcome. */
  enqueueMany(jobs: JobInput[], options?: CallOptions): Promise<Receipt[]>

  /** Say what enqueue would do now, and why. It changes nothing. */
  explain(kind: string, args?: unknown, options?: Options): Promise<Explanation>

  /** One job. ProblemError with type "not-found": it is not there. */
  job(id: string): Promise<Job>

  /**
   * Wait until a job is finished, and return it, with its result. If another one
   * superseded it, that one is waited for. A server that does not answer for a
   * while does not end the wait.
   *
   * FailedError: it was discarded or cancelled. GoneError: it is not kept any more.
   * TimeoutError: it was not finished within `timeout` milliseconds.
   */
  wait(of: Receipt | string, options?: { timeout?: number, signal?: AbortSignal }): Promise<Job>

  /** Any call of docs/http.md, below /api/v1, and its answer. */
  call(method: string, path: string, body?: unknown,
    options?: { headers?: Record<string, string>, timeout?: number, signal?: AbortSignal }): Promise<any>
}

/** One run of a job, for its handler. */
export interface Run<Args = any> {
  readonly job: Job<Args>
  readonly args: Args
  /**
   * Aborted when the handler should end early. Its reason is "stop" (somebody
   * cancelled the job), "timeout", "lost" (it may run elsewhere by now, and its
   * result does not count) or "shutdown".
   */
  readonly signal: AbortSignal
}

/** Runs a job. What it returns is the result, any JSON; what it throws fails the attempt. */
export type Handler = (run: Run) => unknown

export interface WorkerConfig {
  /** How many jobs of each queue run at once; { default: 1 } unless said. */
  queues?: Record<string, number>
  /** That the worker's own name begins with; "node" unless said. */
  name?: string
  /** How many milliseconds a stop waits for jobs that run; 25000 unless said. */
  grace?: number
  /** Stop at SIGTERM and Ctrl-C; true unless said. A second one ends the process. */
  signals?: boolean
  /** Is told what went wrong and is tried again; console.error unless said. */
  log?: (message: string) => void
}

/**
 * Fetches jobs and runs them. Execution is at least once: a job whose worker dies,
 * or is out of reach for longer than the lease, runs again. So a handler has to
 * bear being repeated.
 */
export class Worker {
  /** handlers has a function for each kind. */
  constructor(client: Client, handlers: Record<string, Handler>, config?: WorkerConfig)

  /** Work until stop is called, or a signal comes. ProblemError: the server refuses this worker. */
  run(): Promise<void>

  /** Let run return: it fetches nothing more, and waits for what runs. */
  stop(): void
}

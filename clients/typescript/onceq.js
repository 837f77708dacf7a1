// @ts-check
// Client and worker of onceq, over the HTTP of onceq serve. onceq.d.ts describes
// what is exported.

/** @import * as T from './onceq.d.ts' */

export class OnceqError extends Error {
  get name() { return this.constructor.name }
}

export class ProblemError extends OnceqError {
  /** @param {T.Problem} problem */
  constructor(problem) {
    super(`${problem.title ?? problem.status}: ${problem.detail}`)
    this.problem = problem
    this.type = String(problem.type ?? '').replace(/^urn:onceq:/, '')
    this.status = problem.status
    this.detail = problem.detail
    this.requestId = problem.request_id
    this.field = /** @type {string | undefined} */ (problem.field)
  }
}

export class DuplicateError extends ProblemError {
  /** @param {T.Problem} problem */
  constructor(problem) {
    super(problem)
    this.conflict = /** @type {T.Conflict} */ (problem.conflict)
    this.job = /** @type {T.Job | undefined} */ (problem.job)
  }
}

export class UnavailableError extends OnceqError {}

export class UncertainError extends OnceqError {
  /**
   * @param {string} message
   * @param {string | undefined} idempotencyKey
   * @param {{ cause?: unknown }} [options]
   */
  constructor(message, idempotencyKey, options) {
    super(message, options)
    this.idempotencyKey = idempotencyKey
  }
}

export class FailedError extends OnceqError {
  /** @param {T.Job} job */
  constructor(job) {
    const last = job.errors?.at(-1)
    super(`job ${job.id} is ${job.state}` + (last ? `: ${last.error}` : ''))
    this.job = job
  }
}

export class GoneError extends OnceqError {}
export class TimeoutError extends OnceqError {}
export class Discard extends OnceqError {}
export class Cancel extends OnceqError {}

export class Snooze extends OnceqError {
  /** @param {number} ms */
  constructor(ms) {
    super(`again in ${ms} ms`)
    this.ms = ms
  }
}

/** The answer to a call was lost: it may have happened or not. */
class Lost extends OnceqError {}

/** @type {any} */
const process = /** @type {any} */ (globalThis).process
const resends = 3
const lengths = ['delay', 'timeout', 'retention', 'retention_failed', 'window', 'ttl']
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
// Errors of fetch before anything was sent.
const unsent = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT']

/** @param {number} ms @param {AbortSignal} [signal] */
const sleep = (ms, signal) => /** @type {Promise<void>} */ (new Promise(done => {
  if (signal?.aborted) return done()
  const end = () => { clearTimeout(timer); signal?.removeEventListener('abort', end); done() }
  const timer = setTimeout(end, ms)
  signal?.addEventListener('abort', end)
}))

/** Whether an error means that the same call may be answered later. @param {unknown} e */
const passes = e => e instanceof Lost || e instanceof UnavailableError ||
  e instanceof ProblemError && (e.status >= 500 || e.status === 429)

/** @param {unknown} e */
const text = e => e instanceof Error ? e.message : String(e)

/** @type {typeof T.Client} */
export const Client = class {
  /** @param {T.ClientConfig} [config] */
  constructor({ url, token, timeout = 30_000 } = {}) {
    const env = process?.env ?? {}
    this.url = String(url ?? (env.ONCEQ_URL || 'http://127.0.0.1:8080')).replace(/\/+$/, '')
    if (!/^https?:\/\/./.test(this.url)) throw new OnceqError(`url "${this.url}" must be as http://127.0.0.1:8080`)
    this.#token = token ?? env.ONCEQ_TOKEN ?? ''
    this.#timeout = timeout
  }

  #token
  #timeout

  /** @param {string} kind @param {unknown} [args] @param {T.Options & T.CallOptions} options */
  enqueue(kind, args, { idempotencyKey, ...options } = {}) {
    const job = input({ kind, args, ...options })
    return this.#send('/jobs', job, [job], idempotencyKey)
  }

  /** @param {T.JobInput[]} jobs @param {T.CallOptions} options */
  async enqueueMany(jobs, { idempotencyKey } = {}) {
    const inputs = jobs.map(input)
    return (await this.#send('/jobs/batch', { jobs: inputs }, inputs, idempotencyKey)).receipts
  }

  /** @param {string} kind @param {unknown} [args] @param {T.Options} options */
  explain(kind, args, options = {}) { return this.call('POST', '/explain', input({ kind, args, ...options })) }

  /** @param {string} id */
  job(id) { return this.call('GET', '/jobs/' + encodeURIComponent(id)) }

  /** @param {T.Receipt | string} of @param {{ timeout?: number, signal?: AbortSignal }} options */
  async wait(of, { timeout = Infinity, signal } = {}) {
    let [id, seen] = typeof of === 'string' ? [of, false] : [of.job.id, true]
    const until = Date.now() + timeout
    for (let pause = 20; ; pause = Math.min(pause * 1.5, 2000)) {
      signal?.throwIfAborted()
      try {
        /** @type {T.Job} */
        const job = await this.job(id)
        seen = true
        if (job.state === 'completed') return job
        if (job.state === 'cancelled' && job.superseded_by) { id = job.superseded_by; continue }
        if (job.state === 'discarded' || job.state === 'cancelled') throw new FailedError(job)
      } catch (e) {
        if (e instanceof ProblemError && e.type === 'not-found' && seen) {
          throw new GoneError(`job ${id} is not kept any more: how it ended is not known`)
        }
        if (!passes(e)) throw e // else the server comes back
      }
      const left = until - Date.now()
      if (left <= 0) throw new TimeoutError(`job ${id} was not finished within ${timeout} ms`)
      await sleep(Math.min(pause, left), signal)
    }
  }

  /**
   * Enqueue, and again while the answer is lost.
   * @param {string} path @param {unknown} body @param {Record<string, unknown>[]} jobs @param {string} [key]
   */
  async #send(path, body, jobs, key) {
    const kept = !jobs.some(job => isNothing(job, 'retention') || isNothing(job, 'retention_failed'))
    let made = key === undefined && kept
    if (made) key = newID()
    let lost, last
    for (let attempt = 0; attempt <= resends; attempt++) {
      if (attempt) await sleep(100 * 4 ** (attempt - 1) * (0.5 + Math.random()))
      try {
        return await this.call('POST', path, body,
          { headers: key === undefined ? {} : { 'idempotency-key': JSON.stringify(key) } })
      } catch (e) {
        if (e instanceof Lost) lost ??= e
        else if (!lost && made && e instanceof ProblemError && e.field?.endsWith('id')) {
          key = undefined // a store with partitions names its unique jobs itself
          made = false
        }
        else if (!lost && (!(e instanceof UnavailableError) || attempt === resends)) throw e // nothing has happened
        last = e
        if (lost && key === undefined) break // a repeat would be another job
      }
    }
    throw new UncertainError(text(lost) + (last === lost ? '' : `; then: ${text(last)}`), key, { cause: lost })
  }

  /**
   * @param {string} method @param {string} path @param {unknown} [body]
   * @param {{ headers?: Record<string, string>, timeout?: number, signal?: AbortSignal }} options
   */
  async call(method, path, body, { headers, timeout = this.#timeout, signal } = {}) {
    const what = `${method} ${this.url}/api/v1${path}`
    const limit = AbortSignal.timeout(timeout)
    let answer, content
    try {
      answer = await fetch(this.url + '/api/v1' + path, {
        method,
        headers: {
          accept: 'application/json',
          ...headers,
          ...(this.#token && { authorization: 'Bearer ' + this.#token }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        body: body === undefined ? null : JSON.stringify(body),
        redirect: 'error',
        signal: signal ? AbortSignal.any([limit, signal]) : limit,
      })
      content = await answer.text()
    } catch (e) {
      const cause = /** @type {any} */ (e).cause
      const why = text(cause ?? e)
      if (unsent.includes(cause?.code) || cause?.errors?.every?.((/** @type {any} */ x) => unsent.includes(x.code))) {
        throw new UnavailableError(`${this.url} cannot be reached: ${why || cause.code}`)
      }
      throw new Lost(`${what} was sent, and no answer came: ${why}`, { cause: e })
    }
    return read(answer.status, content, what)
  }
}

/** @param {number} status @param {string} content @param {string} what */
function read(status, content, what) {
  let said
  try {
    said = JSON.parse(content)
  } catch (e) { // a proxy answered, or the answer was cut: the server may have seen the call
    throw new Lost(`${what} was answered with ${status}, which is not JSON: ${JSON.stringify(content.slice(0, 200))}`)
  }
  if (status < 400) return said
  const refused = new ProblemError({ status, detail: content, ...said })
  if (refused.type === 'uncertain' || status >= 500 && !refused.type) throw new Lost(refused.message)
  throw refused.type === 'duplicate' ? new DuplicateError(said) : refused
}

/** A job as it goes in, of what JavaScript has for its values. @param {object} job */
function input(job) {
  /** @type {Record<string, unknown>} */
  const into = {}
  for (const [name, value] of Object.entries(job)) {
    if (typeof value === 'number' && lengths.includes(name)) into[name + '_ms'] = value
    else if (name === 'args' && value instanceof Uint8Array) {
      into.args_base64 = btoa(Array.from(value, b => String.fromCharCode(b)).join(''))
    } else if (value !== undefined && value !== null) into[name] = value
  }
  return into
}

/** Whether a length is zero: "0", "0s" … @param {Record<string, unknown>} job @param {string} name */
function isNothing(job, name) {
  const said = job[name] ?? job[name + '_ms'] ?? ''
  return said === 0 || typeof said === 'string' && said !== '' && !/[1-9]/.test(said)
}

/** An ID as the server makes them: 26 characters, which ascend with time. */
function newID() {
  let id = ''
  for (let i = 9, ms = Date.now(); i >= 0; i--, ms = Math.floor(ms / 32)) id = alphabet[ms % 32] + id
  for (const b of crypto.getRandomValues(new Uint8Array(16))) id += alphabet[b % 32]
  return id
}

const longestWait = 20_000 // that a fetch waits for a job
const lastWords = 5_000 // that handlers have once they were told to end

/** @type {typeof T.Worker} */
export const Worker = class {
  /** @param {T.Client} client @param {Record<string, T.Handler>} handlers @param {T.WorkerConfig} config */
  constructor(client, handlers, { queues = { default: 1 }, name = 'node', grace = 25_000, signals = true,
    log = console.error } = {}) {
    if (!Object.keys(handlers).length) throw new OnceqError('handlers must have a function for at least one kind')
    this.#client = client
    this.#handlers = new Map(Object.entries(handlers))
    this.#config = { queues, name, grace, signals, log }
  }

  #client
  #handlers
  #config
  /** In hand. @type {Map<string, { job: T.Job, control: AbortController, lost: boolean }>} */
  #runs = new Map()
  #done = 0 // the last fetch whose answer is among them: both change in one step
  #me = ''
  #lease = 0
  #heard = 0 // when the server last knew what is in hand
  #stopping = new AbortController()
  #ended = new AbortController()
  #changed = () => {} // wakes who waits for a slot, or for the end of all runs

  stop() { this.#stopping.abort() }

  async run() {
    const onSignal = () => { unhook(); this.stop() } // a second one ends the process
    const unhook = () => ['SIGTERM', 'SIGINT'].forEach(s => process?.off(s, onSignal))
    if (this.#config.signals) ['SIGTERM', 'SIGINT'].forEach(s => process?.on(s, onSignal))
    try {
      await this.#work()
    } finally {
      unhook()
    }
  }

  async #work() {
    const { queues, name } = this.#config
    const about = { pid: process?.pid ?? 0, lang: 'javascript', version: process ? 'Node ' + process.version : '' }
    const joining = { name, queues, kinds: [...this.#handlers.keys()].sort(), about }
    const me = await this.#untilAnswered(() => this.#client.call('POST', '/workers', joining), this.#stopping.signal)
    if (!me) return
    this.#me = me.worker
    this.#lease = me.lease_ms
    this.#heard = Date.now()
    const beats = this.#beat(me.beat_ms)
    try {
      await this.#fetch()
    } finally {
      await this.#drain()
      this.#ended.abort()
      await beats
      // What still runs is handed back. If that fails the end of the lease does it.
      await this.#client.call('POST', '/extend', { worker: this.#me, leave: true }, { timeout: 5000 })
        .catch(e => this.#config.log(`leave: ${text(e)}`))
    }
  }

  /** @param {() => Promise<any>} call @param {AbortSignal} end */
  async #untilAnswered(call, end) {
    for (let pause = 100; !end.aborted; pause = Math.min(2 * pause, 5000)) {
      try {
        return await call()
      } catch (e) {
        if (!passes(e)) throw e
        this.#config.log(text(e))
      }
      await sleep(pause, end)
    }
  }

  async #fetch() {
    const all = Object.keys(this.#config.queues).length
    const kinds = [...this.#handlers.keys()].sort()
    const signal = this.#stopping.signal
    for (let no = 1; ; no++) { // also after an error
      const free = await this.#slots()
      if (signal.aborted) return
      const wait_ms = Math.floor(Object.keys(free).length === all ? Math.min(longestWait, this.#lease / 3) : 1000)
      const sent = Date.now()
      let got
      try { // a call that is aborted is known to the server, which hands back what it fetched meanwhile
        got = await this.#client.call('POST', '/fetch',
          { worker: this.#me, no, runs: this.#inHand(), queues: free, kinds, wait_ms },
          { timeout: wait_ms + 15_000, signal })
      } catch (e) {
        if (signal.aborted) return
        if (!passes(e)) throw e
        this.#config.log(`fetch: ${text(e)}`)
        await sleep(1000, signal)
        continue
      }
      this.#done = no
      const begun = got.jobs.map((/** @type {T.Job} */ job) => {
        const run = { job, control: new AbortController(), lost: false }
        this.#runs.set(keyOf(job), run)
        return run
      })
      this.#told(got, sent)
      for (const run of begun) this.#handle(run)
    }
  }

  /** Waits until a job may be fetched, and says how many of each queue. */
  async #slots() {
    for (;;) {
      /** @type {Record<string, number>} */
      const free = { ...this.#config.queues }
      for (const { job } of this.#runs.values()) free[job.queue] = (free[job.queue] ?? 0) - 1
      for (const [queue, n] of Object.entries(free)) if (n <= 0) delete free[queue]
      if (Object.keys(free).length || this.#stopping.signal.aborted) return free
      await this.#change(this.#stopping.signal)
    }
  }

  /** Waits until a run ends, or the signal comes. @param {AbortSignal} signal */
  #change(signal) {
    return /** @type {Promise<void>} */ (new Promise(done => {
      this.#changed = done
      if (signal.aborted) done()
      signal.addEventListener('abort', () => done(), { once: true })
    }))
  }

  #inHand() { return [...this.#runs.values()].map(({ job: { id, run } }) => ({ id, run })) }

  /** Takes in what the server says of the runs in hand. @param {any} answer @param {number} sent */
  #told(answer, sent) {
    this.#heard = Math.max(this.#heard, sent)
    for (const said of answer.lost) {
      const run = this.#runs.get(keyOf(said))
      if (run) { run.lost = true; run.control.abort('lost') }
    }
    for (const said of answer.stop) this.#runs.get(keyOf(said))?.control.abort('stop')
  }

  /** @param {number} every */
  async #beat(every) {
    const ended = this.#ended.signal
    for (let pause = every; ;) {
      await sleep(pause, ended)
      if (ended.aborted) return
      const sent = Date.now()
      try {
        this.#told(await this.#client.call('POST', '/extend',
          { worker: this.#me, runs: this.#inHand(), fetches_done: this.#done },
          { timeout: Math.max(every, 5000), signal: ended }), sent)
        pause = every
      } catch (e) {
        if (ended.aborted) return
        this.#config.log(`heartbeat: ${text(e)}`)
        pause = Math.min(1000, every)
      }
      if (Date.now() - this.#heard > this.#lease) for (const run of this.#runs.values()) run.control.abort('lost')
    }
  }

  /** @param {{ job: T.Job, control: AbortController, lost: boolean }} run */
  async #handle(run) {
    const { job, control } = run
    const limit = job.timeout_ms ? setTimeout(() => control.abort('timeout'), job.timeout_ms) : undefined
    /** @type {Record<string, unknown>} */
    let verdict = { outcome: 'completed' }
    try {
      const handler = /** @type {T.Handler} */ (this.#handlers.get(job.kind))
      const result = await handler({ job, args: job.args, signal: control.signal })
      if (result !== undefined) verdict.result = JSON.parse(JSON.stringify(result))
    } catch (e) {
      const outcome = e instanceof Discard ? 'discarded' : e instanceof Cancel ? 'cancelled' : 'failed'
      verdict = { outcome, error: outcome === 'failed' ? String(e) : text(e),
        ...(e instanceof Error && e.stack && { stack: e.stack }) }
      if (e instanceof Snooze) verdict = { outcome: 'snoozed', delay_ms: Math.max(0, Math.round(e.ms)) }
    }
    clearTimeout(limit)
    await this.#finish(run, verdict)
    this.#runs.delete(keyOf(job))
    this.#changed()
  }

  /**
   * Says how a run ended, until there is an answer: a repeat gets the first one.
   * @param {{ job: T.Job, lost: boolean }} run @param {Record<string, unknown>} verdict
   */
  async #finish(run, verdict) {
    const { id, run: no } = run.job
    const path = `/jobs/${encodeURIComponent(id)}/finish`
    for (let pause = 100; !run.lost && !this.#ended.signal.aborted; pause = Math.min(2 * pause, 5000)) {
      try {
        return await this.#client.call('POST', path, { worker: this.#me, run: no, ...verdict })
      } catch (e) {
        if (e instanceof ProblemError && e.type === 'gone') return // it was done, and the job is not kept
        this.#config.log(`finish of job ${id}: ${text(e)}`)
        if (!passes(e)) {
          if (!('result' in verdict) || e instanceof ProblemError && e.type === 'lease-lost') return
          verdict = { outcome: 'failed', error: 'the result was refused: ' + text(e) }
          continue
        }
      }
      await sleep(pause, this.#ended.signal)
    }
  }

  async #drain() {
    for (const [ms, then] of /** @type {const} */ ([[this.#config.grace, 'shutdown'], [lastWords, '']])) {
      const limit = AbortSignal.timeout(ms)
      while (this.#runs.size && !limit.aborted) await this.#change(limit)
      if (then) for (const run of this.#runs.values()) run.control.abort(then)
    }
  }
}

/** @param {{ id: string, run?: number }} run */
const keyOf = ({ id, run }) => `${run} ${id}`

// One measurement of BullMQ, as bullmq.go asks for it in its argument. It prints
// "begin" when what counts begins, and then what it measured, as JSON.
import { Queue, Worker } from 'bullmq'

const ask = JSON.parse(process.argv[2])
const connection = { host: ask.host, port: ask.port, db: ask.db, maxRetriesPerRequest: null }
// As onceq and River: finished jobs are kept for 24 hours.
const kept = { removeOnComplete: { age: 86400 }, removeOnFail: { age: 86400 } }
const queue = new Queue('bench', { connection, defaultJobOptions: kept })
await queue.waitUntilReady()

// The same 100 bytes as newEvent of measure.go.
let serial = ask.first
const event = (n) => {
  const digits = String(10_000_000_000 + n).slice(1)
  return { account: 100 + (n % 877), email: `somebody.${digits}@example.com`, reason: 'benchmark', note: digits.slice(1) }
}
const job = (n) => ({ name: 'bench', data: event(n), opts: { deduplication: { id: String(n) } } })
const add = (n) => queue.add('bench', event(n), { deduplication: { id: String(n) } })
const many = (first, n) => queue.addBulk(Array.from({ length: n }, (_, i) => job(first + i)))
const fill = async (n) => {
  for (; n > 0; n -= 1000, serial += 1000) await many(serial, Math.min(n, 1000))
}
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

const warmUp = Math.max(500, ask.ms / 5) // until Node has compiled what runs often

let began, cpu
const begin = () => {
  process.stdout.write('begin\n')
  began = process.hrtime.bigint()
  cpu = process.cpuUsage()
}
const end = (n, more) => {
  const took = Number(process.hrtime.bigint() - began)
  const used = process.cpuUsage(cpu)
  process.stdout.write(JSON.stringify({ n, took, client: (used.user + used.system) * 1000, ...more }) + '\n')
  process.exit(0)
}

// callers lets n callers do something again and again, and count for a while after a warm-up.
const callers = async (n, act) => {
  let done = 0
  for (let i = 0; i < n; i++) {
    (async () => { for (;;) { const jobs = await act(); done += jobs } })().catch((e) => { console.error(e); process.exit(1) })
  }
  await sleep(warmUp)
  begin()
  const before = done
  await sleep(ask.ms)
  while (done === before) await sleep(10) // a batch may take longer than that
  end(done - before)
}

const held = 1000
switch (ask.do) {
  case 'uniques':
    await callers(ask.callers, async () => { await add(serial++); return 1 })
    break
  case 'batches':
    await callers(1, async () => { await many(serial, 1000); serial += 1000; return 1000 })
    break
  case 'duplicates': {
    const there = await many(serial, held)
    let next = 0
    await callers(ask.callers, async () => {
      const i = next++ % held
      const { id } = await add(serial + i)
      if (id !== there[i].id) throw new Error(`${id} is no duplicate of ${there[i].id}`)
      return 1
    })
    break
  }
  case 'single': {
    const took = []
    let counts = false
    const one = async () => {
      const at = process.hrtime.bigint()
      await add(serial++)
      if (counts) took.push(Number(process.hrtime.bigint() - at) / 1e6)
    }
    for (const until = Date.now() + warmUp; Date.now() < until;) await one()
    counts = true
    begin()
    for (const until = Date.now() + ask.ms; Date.now() < until;) await one()
    end(took.length, { samples: took })
    break
  }
  case 'runs': {
    await fill(ask.jobs)
    let ran = 0, completed = 0
    const worker = new Worker('bench', async () => { if (ran++ === 0) begin() }, { connection, concurrency: 100 })
    worker.on('completed', () => { if (++completed === ask.jobs) end(completed) })
    break
  }
  case 'latency': {
    let started
    const worker = new Worker('bench', async () => started(process.hrtime.bigint()), { connection, concurrency: 100 })
    await worker.waitUntilReady()
    const took = []
    begin()
    for (const until = Date.now() + ask.ms; Date.now() < until || took.length < 7;) {
      const run = new Promise((resolve) => { started = resolve })
      const at = process.hrtime.bigint()
      await add(serial++)
      took.push(Number((await run) - at) / 1e6)
      await sleep(10 + Math.random() * 5)
    }
    end(0, { samples: took.slice(2) }) // the worker was still starting
  }
}

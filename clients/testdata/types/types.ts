// A program of a user: each line that says WRONG is one that types refuse.
import { Client, Discard, Worker, type Job, type Receipt, type Run } from 'onceq'

const client = new Client({ url: 'http://127.0.0.1:8080', token: 't', timeout: 5000 })
const receipt: Receipt = await client.enqueue('mail', { to: 'ada' }, { unique: true, window: '5m', on_conflict: 'coalesce' })
await client.enqueue('mail', {}, { windoww: '5m' }) // WRONG
await client.enqueue('mail', {}, { priority: 'high' }) // WRONG
await client.enqueue('mail', {}, { until: 'finish' }) // WRONG
await client.enqueue('mail', {}, { on_conflict: 'replace:args', run_at: new Date(), idempotencyKey: 'k' })
console.log(receipt.outcome, receipt.job.id, receipt.job.run_at?.slice(0, 10))
console.log(receipt.outcom) // WRONG
console.log(receipt.conflict.holder) // WRONG: there may be none
console.log(receipt.conflict?.holder.toUpperCase())
await client.enqueueMany([{ kind: 'mail', args: 1, tags: ['x'] }, { kind: 'mail' }])
await client.enqueueMany([{ args: 1 }]) // WRONG
const job: Job = await client.wait(receipt, { timeout: 10_000 })
await client.wait(receipt.job) // WRONG
console.log((await client.explain('mail', { to: 'ada' }, { unique: true })).hint?.length, job.state === 'completed')

async function send(run: Run<{ to: string }>) {
  if (!run.args.to) throw new Discard('nobody')
  await fetch('https://example.com', { signal: run.signal })
  return { sent: run.args.two } // WRONG
}

await new Worker(client, { mail: send, note: () => 'ok' }, { queues: { default: 4 }, grace: 10_000 }).run()
new Worker(client, { mail: 'send' }) // WRONG

// A worker whose handlers say what they do on stdout.
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cancel, Client, Discard, Snooze, Worker } from 'onceq'

const says = (run, what) => console.log(what, run.job.id)

const handlers = {
  add: run => ({ sum: run.args.reduce((a, b) => a + b, 0) }),
  fail() { throw new Error('as it was asked to') },
  async discard() { throw new Discard('no such user') },
  cancel() { throw new Cancel('not needed') },
  snooze({ job }) { if (job.run === 1) throw new Snooze(10) },
  large: () => 'x'.repeat(300_000),
  async patient(run) { // ends when it is told to
    says(run, 'began')
    await new Promise(done => run.signal.addEventListener('abort', done))
    says(run, run.signal.reason)
    throw new Error('ended early')
  },
  async deaf(run) { // does not hear that it should end
    says(run, 'began')
    await sleep(600_000)
  },
  async slow(run) { // goes on until a file is there
    says(run, 'began')
    while (!existsSync(run.args)) await sleep(10)
  },
}
class Talking extends Worker {
  stop() {
    super.stop()
    console.log('stopping')
  }
}
const worker = new Talking(new Client(), handlers, {
  queues: { default: 2, other: 1 }, grace: Number(process.env.GRACE ?? 25) * 1000,
})
await worker.run()
console.log('ended')
process.exit() // although a handler that is deaf still waits

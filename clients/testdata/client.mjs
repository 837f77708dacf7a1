// Does what lines of JSON on stdin say, and answers each with a line.
import { createInterface } from 'node:readline'
import { Client, DuplicateError, FailedError, OnceqError, ProblemError, UncertainError } from 'onceq'

const client = new Client({ timeout: 10_000 })

function act({ call, ...said }) {
  switch (call) {
    case 'enqueue': return client.enqueue(said.kind, said.args, { ...said.options, idempotencyKey: said.key })
    case 'enqueue_many': return client.enqueueMany(said.jobs, { idempotencyKey: said.key })
    case 'explain': return client.explain(said.kind, said.args, said.options)
    case 'wait': return client.wait(said.id, said.timeout && { timeout: said.timeout * 1000 })
    case 'wait_for': return client.wait(said.receipt)
    default: throw new Error(call)
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer
  try {
    answer = { ok: await act(JSON.parse(line)) }
  } catch (e) {
    if (!(e instanceof OnceqError)) throw e
    answer = { error: e.name, message: e.message }
    if (e instanceof ProblemError) Object.assign(answer, { type: e.type, field: e.field })
    if (e instanceof DuplicateError) answer.holder = e.conflict.holder
    if (e instanceof UncertainError) answer.key = e.idempotencyKey ?? null
    if (e instanceof FailedError) answer.state = e.job.state
  }
  console.log(JSON.stringify(answer))
}

// A worker of onceq serve, with nothing but what Node has.
const { ONCEQ_URL: url = 'http://127.0.0.1:8080', ONCEQ_TOKEN: token = '' } = process.env
async function call(path, body) {
  const headers = { 'content-type': 'application/json', authorization: 'Bearer ' + token }
  const answer = await fetch(url + '/api/v1' + path, { method: 'POST', body: JSON.stringify(body), headers,
    signal: AbortSignal.timeout(40000) })
  if (!answer.ok) throw new Error(answer.status + ' ' + await answer.text())
  return answer.json()
}
async function work(job) { // yours: an exception means that it failed, and is tried again
  if (job.kind === 'fail') throw new Error('as it was asked to')
  console.log(job.kind, job.args)
}
const { worker, beat_ms } = await call('/workers', { name: 'node', queues: { default: 1 }, about: { lang: 'node' } })
let now = { fetches_done: 0, runs: [] } // what is in hand: replaced whole, never changed
setInterval(() => call('/extend', { worker, ...now }).catch(e => console.log('extend:', e.message)), beat_ms)
for (let no = 1; ; no++) { // also after an error
  let jobs
  try { ({ jobs } = await call('/fetch', { worker, no, queues: { default: 1 } })) }
  catch (e) { console.log('fetch:', e.message); await new Promise(done => setTimeout(done, 1000)); continue }
  now = { fetches_done: no, runs: jobs.map(({ id, run }) => ({ id, run })) }
  for (const job of jobs) {
    let result = { outcome: 'completed' }
    try { await work(job) } catch (e) { result = { outcome: 'failed', error: String(e) } }
    await call(`/jobs/${encodeURIComponent(job.id)}/finish`, { worker, run: job.run, ...result })
      .catch(e => console.log('finish:', e.message)) // 409: it is no longer ours, and runs elsewhere
  }
  now = { fetches_done: no, runs: [] }
}

'use strict'
// Everything here works without this script too: it only makes the pages live,
// asks in a dialog in place of a page, and adds keys.

// load fetches a page as a document. It passes Trusted Types, as innerHTML would
// not.
function load (method, url, body, live) {
  return new Promise((resolve, reject) => {
    const x = new XMLHttpRequest()
    x.open(method, url)
    if (live) x.setRequestHeader('Onceq-Live', '1')
    x.responseType = 'document'
    x.timeout = 15000
    if (body) x.setRequestHeader('Content-Type', 'application/x-www-form-urlencoded')
    x.onload = () => x.response || x.status === 204 ? resolve({ status: x.status, page: x.response, url: x.responseURL }) : reject(new Error('no page'))
    x.onerror = x.ontimeout = reject
    x.send(body)
  })
}

// Live: events tell that something has changed. Then the page is loaded again, and
// the parts that differ take the place of those that are there; what is chosen or
// being typed stays. Without events, and for what they do not tell, the page is
// loaded now and then. The server says 204 where the pages that are open would
// take more than a tenth of its time.
const main = document.querySelector('main[data-live]')
const button = document.getElementById('live')
const calm = 10000 // from load to load while there are events, in milliseconds
const poll = 5000 // and while there are none
const again = 60000 // until events are tried again
let on = sessionStorage.getItem('onceq-live') !== 'off'
let timer = 0
let loading = false
let changed = false // since the load that is under way has begun
let rest = 0 // no load before this
let stream = null
let failures = 0 // of the stream, in a row
let silent = 0 // no stream before this

function busy (part) {
  const at = document.activeElement
  return (part.contains(at) && at !== document.body && at !== main) || part.querySelector('input:checked')
}

// say tells whether what is shown is of now.
function say (since) {
  button.dataset.since = since
  button.lastElementChild.textContent = since ? 'No answer since ' + since : 'Live'
}

// soon loads the page again after a while, and not before it may be.
function soon (wait) {
  clearTimeout(timer)
  timer = setTimeout(refresh, Math.max(wait, rest - Date.now()))
}

function listen () {
  if (stream || !main.dataset.live || Date.now() < silent) return
  stream = new EventSource(main.dataset.live)
  stream.onopen = () => { failures = 0 }
  stream.onerror = () => {
    if (++failures < 3 && stream.readyState !== EventSource.CLOSED) return // it tries by itself
    deaf()
    failures = 0
    silent = Date.now() + again
  }
  for (const name of ['queues', 'stats', 'workers', 'job', 'key']) {
    stream.addEventListener(name, () => {
      changed = true
      if (!loading) soon(100) // other topics may follow at once
    })
  }
}

function deaf () {
  if (stream) stream.close()
  stream = null
}

async function refresh () {
  const began = Date.now()
  let wait = 0
  loading = true
  changed = false
  try {
    if (!document.querySelector('dialog[open]')) {
      const got = await load('GET', location.href, null, true)
      if (got.status === 200) {
        say('')
        replace(got.page)
      } else if (got.status === 204) {
        wait = 1000 + 2000 * Math.random()
      } else {
        throw new Error('no page')
      }
    }
  } catch {
    if (!button.dataset.since) say(new Date().toTimeString().slice(0, 5))
    wait = poll
  }
  loading = false
  rest = Date.now() + 10 * (Date.now() - began)
  if (!on || document.hidden) return
  listen()
  soon(wait || (changed ? 100 : stream ? calm : poll))
}

const partsOf = page => [...page.querySelectorAll('[data-part]')].map(p => p.dataset.part).join()

function replace (page) {
  const whole = page.querySelector('main')
  if (partsOf(page) !== partsOf(document)) { // what was empty is not any more, or the other way round
    if (whole && !busy(main)) main.replaceChildren(...document.importNode(whole, true).childNodes)
    return
  }
  for (const part of document.querySelectorAll('[data-part]')) {
    const next = page.querySelector('[data-part="' + part.dataset.part + '"]')
    if (!next || busy(part) || next.isEqualNode(part)) continue
    const open = [...part.querySelectorAll('details')].map(d => d.open)
    const fresh = document.importNode(next, true)
    fresh.querySelectorAll('details').forEach((d, i) => { if (open[i] !== undefined) d.open = open[i] })
    part.replaceChildren(...fresh.childNodes)
  }
}

// follow begins or ends to follow what happens: a page that nobody sees does not.
function follow (wait) {
  clearTimeout(timer)
  deaf()
  if (!on || document.hidden) return
  listen()
  soon(wait)
}

function setLive (now) {
  on = now
  sessionStorage.setItem('onceq-live', on ? 'on' : 'off')
  button.setAttribute('aria-pressed', String(on))
  follow(poll)
}

if (main && button && document.querySelector('[data-part]')) {
  button.hidden = false
  button.addEventListener('click', () => setLive(!on))
  document.addEventListener('visibilitychange', () => follow(100))
  setLive(on)
}

// A form that asks first: its question comes as a page, and stands in a dialog.
const dialog = document.getElementById('dialog')
let kept = 0 // when a question was last answered with no

async function ask (form, button) {
  let got
  if (button && button.hasAttribute('formaction')) form.action = button.formAction
  try {
    got = await load('POST', form.action, new URLSearchParams(new FormData(form)).toString())
  } catch {
    form.submit()
    return
  }
  const question = got.page.querySelector('[data-question]')
  if (!question) {
    form.submit()
    return
  }
  const box = document.importNode(question, true)
  const heading = box.querySelector('h1')
  const title = document.createElement('h2')
  title.append(...heading.childNodes)
  heading.replaceWith(title)
  const inner = box.querySelector('form')
  if (inner) inner.action = new URL(inner.getAttribute('action'), got.url).href
  const no = box.querySelector('[data-no]')
  if (no) {
    no.setAttribute('role', 'button')
    no.addEventListener('click', e => {
      e.preventDefault()
      kept = Date.now()
      dialog.close()
    })
  }
  dialog.replaceChildren(box)
  dialog.showModal()
  const first = box.querySelector('input:not([type=hidden])') || no
  if (first) first.focus()
}

document.addEventListener('submit', e => {
  if (!e.target.matches('form[data-ask]')) return
  e.preventDefault()
  // The key that closed the dialog may press the button that opened it, where the
  // focus is again.
  if (Date.now() - kept > 400) ask(e.target, e.submitter)
})

// How many rows are chosen.
function count () {
  const chosen = document.querySelector('[data-chosen]')
  const n = document.querySelectorAll('main td input:checked').length
  if (chosen) chosen.textContent = n ? String(n) : ''
}
document.addEventListener('change', count)
count()

// Keys: those that the dialog of ? names.
const pages = { o: 'overview', j: 'jobs', q: 'queues', k: 'keys', c: 'conflicts', e: 'explain', w: 'workers', p: 'policies', s: 'system' }
const help = document.getElementById('help')
let going = 0

// rows are those that can be walked through, and at is where the focus is.
function walk () {
  const rows = [...document.querySelectorAll('main tbody tr')].filter(r => r.querySelector('a'))
  return { rows, at: rows.findIndex(r => r.contains(document.activeElement)) }
}

const keys = {
  '/': () => document.getElementById('find').focus(),
  '?': () => help.showModal(),
  g: () => { going = Date.now() },
  p: () => { if (!button.hidden) setLive(!on) },
  j: () => step(1),
  k: () => step(-1),
  o: () => { const { rows, at } = walk(); if (at >= 0) rows[at].querySelector('a').click() },
  x: () => {
    const { rows, at } = walk()
    const box = at >= 0 && rows[at].querySelector('input[type=checkbox]')
    if (box) box.click()
  },
  Escape: () => {
    for (const box of document.querySelectorAll('main td input:checked')) box.checked = false
    count()
    document.activeElement.blur()
  }
}

function step (n) {
  const { rows, at } = walk()
  const next = rows[at < 0 ? 0 : at + n]
  if (next) next.querySelector('a').focus()
}

document.addEventListener('keydown', e => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest('dialog[open]')) return
  const typing = e.target.closest('input:not([type=checkbox]), textarea, select')
  if (typing && e.key !== 'Escape') return
  if (Date.now() - going < 1500 && pages[e.key]) {
    going = 0
    const link = document.querySelector('.side a[data-page="' + pages[e.key] + '"]')
    if (link) link.click()
  } else if (Object.hasOwn(keys, e.key)) {
    e.preventDefault()
    keys[e.key]()
  }
})

const current = document.querySelector('.side [aria-current]')
const showCurrent = () => { if (current) current.scrollIntoView({ block: 'nearest', inline: 'center' }) }
addEventListener('resize', showCurrent)
showCurrent()

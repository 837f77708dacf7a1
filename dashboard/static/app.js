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

// Live: the page is loaded again, and the parts that differ take the place of
// those that are there. The server says 204 where the pages that are open would
// take more than a tenth of its time. What is chosen or being typed stays.
const main = document.querySelector('main[data-live]')
const button = document.getElementById('live')
let on = sessionStorage.getItem('onceq-live') !== 'off'
let timer = 0

function busy (part) {
  const at = document.activeElement
  return (part.contains(at) && at !== document.body && at !== main) || part.querySelector('input:checked')
}

// say tells whether what is shown is of now.
function say (since) {
  button.dataset.since = since
  button.lastElementChild.textContent = since ? 'No answer since ' + since : 'Live'
}

async function refresh () {
  const began = performance.now()
  let wait = 3000
  try {
    if (!document.hidden && !document.querySelector('dialog[open]')) {
      const got = await load('GET', location.href, null, true)
      if (got.status === 200) {
        say('')
        for (const part of document.querySelectorAll('[data-part]')) {
          const next = got.page.querySelector('[data-part="' + part.dataset.part + '"]')
          if (!next || busy(part) || next.isEqualNode(part)) continue
          const open = [...part.querySelectorAll('details')].map(d => d.open)
          const fresh = document.importNode(next, true)
          fresh.querySelectorAll('details').forEach((d, i) => { if (open[i] !== undefined) d.open = open[i] })
          part.replaceChildren(...fresh.childNodes)
        }
      } else if (got.status === 204) {
        wait = 1000 + 2000 * Math.random()
      } else {
        throw new Error('no page')
      }
    }
  } catch {
    wait = 5000
    if (!button.dataset.since) say(new Date().toTimeString().slice(0, 5))
  }
  timer = setTimeout(refresh, Math.max(wait, 10 * (performance.now() - began)))
}

function setLive (now) {
  on = now
  sessionStorage.setItem('onceq-live', on ? 'on' : 'off')
  button.setAttribute('aria-pressed', String(on))
  clearTimeout(timer)
  if (on) timer = setTimeout(refresh, 3000)
}

if (main && button && document.querySelector('[data-part]')) {
  button.hidden = false
  button.addEventListener('click', () => setLive(!on))
  setLive(on)
}

// A form that asks first: its question comes as a page, and stands in a dialog.
const dialog = document.getElementById('dialog')

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
    no.addEventListener('click', e => { e.preventDefault(); dialog.close() })
  }
  dialog.replaceChildren(box)
  dialog.showModal()
  const first = box.querySelector('input:not([type=hidden])') || no
  if (first) first.focus()
}

document.addEventListener('submit', e => {
  if (!e.target.matches('form[data-ask]')) return
  e.preventDefault()
  ask(e.target, e.submitter)
})

// How many rows are chosen.
const chosen = document.querySelector('[data-chosen]')
function count () {
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
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest('dialog')) return
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

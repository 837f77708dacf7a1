'use strict'
// Everything here works without this script too: it only makes the pages live,
// asks in a dialog in place of a page, and adds keys.

// load fetches a page as a document. It passes Trusted Types, as innerHTML would
// not.
function load (method, url, body) {
  return new Promise((resolve, reject) => {
    const x = new XMLHttpRequest()
    x.open(method, url)
    x.responseType = 'document'
    x.timeout = 15000
    if (body) x.setRequestHeader('Content-Type', 'application/x-www-form-urlencoded')
    x.onload = () => x.response ? resolve({ status: x.status, page: x.response, url: x.responseURL }) : reject(new Error('no page'))
    x.onerror = x.ontimeout = reject
    x.send(body)
  })
}

// Live: the page is loaded again, and the parts that differ take the place of
// those that are there. A slow server is asked less: at most a tenth of the time.
const main = document.querySelector('main[data-live]')
const button = document.getElementById('live')
let on = sessionStorage.getItem('onceq-live') !== 'off'
let timer = 0

function busy (part) {
  const at = document.activeElement
  return part.contains(at) && at !== document.body && at !== main
}

async function refresh () {
  const began = performance.now()
  let wait = 3000
  try {
    if (!document.hidden && !document.querySelector('dialog[open]')) {
      const got = await load('GET', location.href)
      if (got.status === 200) {
        for (const part of document.querySelectorAll('[data-part]')) {
          const next = got.page.querySelector('[data-part="' + part.dataset.part + '"]')
          if (!next || busy(part) || next.isEqualNode(part)) continue
          const open = [...part.querySelectorAll('details')].map(d => d.open)
          const fresh = document.importNode(next, true)
          fresh.querySelectorAll('details').forEach((d, i) => { if (open[i] !== undefined) d.open = open[i] })
          part.replaceChildren(...fresh.childNodes)
        }
      }
    }
  } catch {
    wait = 10000
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

async function ask (form) {
  let got
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
  ask(e.target)
})

// Keys: / finds, g and a letter goes to a page, j and k walk through rows.
const pages = { o: 'overview', j: 'jobs', q: 'queues', k: 'keys', c: 'conflicts', e: 'explain', w: 'workers', p: 'policies', s: 'system' }
let going = 0
document.addEventListener('keydown', e => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest('input, textarea, select, dialog')) return
  if (e.key === '/') {
    e.preventDefault()
    document.getElementById('find').focus()
  } else if (Date.now() - going < 1500 && pages[e.key]) {
    going = 0
    const link = document.querySelector('.side a[data-page="' + pages[e.key] + '"]')
    if (link) link.click()
  } else if (e.key === 'g') {
    going = Date.now()
  } else if (e.key === 'j' || e.key === 'k') {
    const rows = [...document.querySelectorAll('main tbody tr a:first-of-type')].filter(a => a.matches('td:first-child a'))
    const at = rows.indexOf(document.activeElement)
    const next = rows[at + (e.key === 'j' ? 1 : -1)] || rows[0]
    if (next) next.focus()
  }
})

const current = document.querySelector('.side [aria-current]')
if (current) current.scrollIntoView({ block: 'nearest', inline: 'center' })

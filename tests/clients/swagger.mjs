// A person's way through Swagger UI: open it, authorize with a token, call GET /api/auth/me, read the answer.
// Run by `run swagger`; needs COUNTERSIGN_URL. CHROMIUM names another browser than Debian's; SCREENSHOT a file for a picture of the end.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { chromium } from 'playwright-core'

const base = process.env.COUNTERSIGN_URL
assert.ok(base, 'COUNTERSIGN_URL is not set')
const username = `swagger-${randomUUID()}`
const password = `a phrase of ${username}`

async function post(path, body) {
  const answer = await fetch(`${base}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  assert.equal(answer.status, 200, await answer.clone().text())
  return answer.json()
}

await post('/api/auth/register', { username, email: `${username}@example.com`, password })
const { token } = await post('/api/auth/login', { username, password })

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  // Without a sandbox, because a test machine often runs it as root; without whatever would call home.
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
})
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1600 } })
  const faults = []
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()))

  await page.goto(`${base}/swagger`)
  await page.locator('button.authorize').first().click()
  const dialog = page.locator('.dialog-ux')
  await dialog.locator('input').first().fill(token)
  await dialog.locator('button.authorize').first().click()
  await dialog.locator('button.btn-done').first().click()

  const operation = page.locator('.opblock-get', { has: page.locator('[data-path="/api/auth/me"]') })
  await operation.locator('.opblock-summary').click()
  // The page may be set up to be tried out at once; then this button takes that back.
  const tryOut = operation.locator('.try-out__btn')
  if ((await tryOut.innerText()) === 'Try it out') await tryOut.click()
  await operation.locator('button.execute').click()
  const answer = operation.locator('.live-responses-table')
  await answer.locator('.response-col_status', { hasText: '200' }).waitFor()
  const shown = await answer.innerText()
  await answer.scrollIntoViewIfNeeded()
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true })

  assert.ok(shown.includes(username), `the answer does not show ${username}:\n${shown}`)
  assert.deepEqual(faults, [], 'the page reported errors')
  console.log(`Swagger UI: GET /api/auth/me answered 200 and shows ${username}`)
} finally {
  await browser.close()
}

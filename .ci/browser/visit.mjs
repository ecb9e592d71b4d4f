// Visits each address in Chromium and says what became of it. Standard input is
// {"executable", "args", "urls"}; standard output {"version", "visits": [{"url", "error", "secure", "passkeys", "text"}]}.
import { chromium } from 'playwright-core'
import { text } from 'node:stream/consumers'

const { executable, args, urls } = JSON.parse(await text(process.stdin))
const browser = await chromium.launch({ executablePath: executable, args, chromiumSandbox: false })
const visits = []
for (const url of urls) {
  // A context of its own: what was decided for one page does not reach the next.
  const context = await browser.newContext()
  const page = await context.newPage()
  try {
    await page.goto(url, { timeout: 30_000 })
    const seen = await page.evaluate(() => ({
      secure: isSecureContext, passkeys: typeof window.PublicKeyCredential === 'function', text: document.body.innerText
    }))
    visits.push({ url, error: '', ...seen })
  } catch (e) {
    visits.push({ url, error: /net::(ERR_\w+)/.exec(e.message)?.[1] ?? e.message, secure: false, passkeys: false, text: '' })
  }
  await context.close()
}
console.log(JSON.stringify({ version: browser.version(), visits }))
await browser.close()

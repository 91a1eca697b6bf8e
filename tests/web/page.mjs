// Opens one page in headless Chromium and reports what a reader would meet: errors, requests, charts,
// text, keyboard stops, width. Used by pages_test.mjs, and alone to take pictures:
//   node tests/web/page.mjs PAGE.html PICTURES_FOLDER
import { chromium } from 'playwright-core';
import { pathToFileURL } from 'node:url';
import { statSync, mkdirSync } from 'node:fs';
import path from 'node:path';

const kBrowsers = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export async function openBrowser() {
  const { existsSync } = await import('node:fs');
  const executablePath = process.env.CHROMIUM ?? kBrowsers.find(p => existsSync(p));
  return chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
           '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}

export async function openPage(browser, file, { width = 1280, dark = false } = {}) {
  const page = await browser.newPage({
    viewport: { width, height: 900 }, colorScheme: dark ? 'dark' : 'light', serviceWorkers: 'block',
  });
  const seen = { errors: [], requests: [] };
  page.on('console', m => { if (m.type() === 'error' || m.type() === 'warning') seen.errors.push(m.text()); });
  page.on('pageerror', e => seen.errors.push(String(e)));
  const url = pathToFileURL(path.resolve(file)).href;
  page.on('request', r => {
    if (r.url() !== url && !r.url().startsWith('data:')) seen.requests.push(r.url());
  });
  await page.goto(url);
  await page.waitForFunction(() => document.documentElement.dataset.charts !== undefined, null, { timeout: 60000 });
  return { page, seen };
}

// A chart is drawn where its picture holds marks with an area and its text can be read.
export function chartsOf(page) {
  return page.evaluate(() => [...document.querySelectorAll('figure .chart')].map(box => {
    const svg = box.querySelector('svg');
    const marks = svg ? [...svg.querySelectorAll('.role-mark path, .role-mark rect, .role-mark line, .role-mark text')] : [];
    const visible = m => {
      const box = m.getBoundingClientRect(), style = getComputedStyle(m);
      const seen = colour => colour !== 'none' && !colour.endsWith(', 0)') && colour !== 'transparent';
      return box.width + box.height > 2 && (seen(style.fill) || seen(style.stroke));
    };
    const area = marks.filter(visible);
    return {
      caption: box.parentElement.querySelector('figcaption').textContent,
      marks: area.length,
      texts: svg ? svg.querySelectorAll('text').length : 0,
      width: svg ? svg.getBoundingClientRect().width : 0,
      room: box.getBoundingClientRect().width,
      rows: box.parentElement.querySelectorAll('details tbody tr').length,
    };
  }));
}

export function fileSize(file) {
  return statSync(file).size;
}

async function pictures(file, folder) {
  mkdirSync(folder, { recursive: true });
  const browser = await openBrowser();
  for (const [width, dark] of [[1280, false], [1280, true], [390, false], [390, true]]) {
    const { page, seen } = await openPage(browser, file, { width, dark });
    const name = `${path.basename(file, '.html')}-${width}-${dark ? 'dark' : 'light'}.png`;
    await page.screenshot({ path: path.join(folder, name), fullPage: true });
    console.log(name, seen.errors, seen.requests);
    await page.close();
  }
  await browser.close();
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  await pictures(process.argv[2], process.argv[3]);

// Every kind of page in headless Chromium: silent, complete, drawn, readable, reachable by keyboard, narrow
// and dark and printed. The folder of pages is made by pages.sh; PAGES names it.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import path from 'node:path';
import { chartsOf, fileSize, openBrowser, openPage } from './page.mjs';

const kFolder = process.env.PAGES;
const kMostBytes = 3_000_000;
// Sections that each page must have, and charts at least.
const kPages = {
  plan: { sections: ['ranking', 'time', 'memory', 'pipeline', 'placement', 'provenance'], charts: 7 },
  counts: { sections: ['ranking', 'counts', 'time', 'memory', 'placement', 'provenance'], charts: 6 },
  predict: { sections: ['time', 'memory', 'provenance'], charts: 4 },
  size: { sections: ['sizes', 'time', 'memory', 'provenance'], charts: 5 },
  whatif: { sections: ['surface', 'time', 'memory', 'provenance'], charts: 5 },
  staged: { sections: ['economics'], charts: 1 },
  'equal-step': { sections: ['economics'], charts: 1 },
  studies: { sections: ['questions'], charts: 1 },
  confirm: { sections: ['measured'], charts: 3 },
  check: { sections: ['findings', 'time', 'memory', 'placement', 'provenance'], charts: 6 },
  validate: { sections: ['measured'], charts: 1 },
  quickstart: { sections: ['ranking', 'measured', 'time', 'memory', 'placement', 'provenance'], charts: 10 },
};

let browser;
before(async () => { browser = await openBrowser(); });
after(async () => { await browser.close(); });

const file = name => path.join(kFolder, `${name}.html`);

// Calls body(page, seen) and closes the page.
async function on(name, options, body) {
  const { page, seen } = await openPage(browser, file(name), options);
  try {
    await body(page, seen);
  } finally {
    await page.close();
  }
}

// Luminance contrast of WCAG 2.1, section 1.4.3, of two "rgb(r, g, b)".
function contrast(one, other) {
  const luminance = text => {
    const [r, g, b] = text.match(/[\d.]+/g).slice(0, 3).map(Number).map(c => {
      const s = c / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

for (const [name, wanted] of Object.entries(kPages)) {
  test(`${name}: no error, no request, every chart drawn with its table`, () => on(name, {}, async (page, seen) => {
    assert.deepEqual(seen.errors, []);
    assert.deepEqual(seen.requests, []);
    assert.ok(fileSize(file(name)) < kMostBytes, `${fileSize(file(name))} bytes`);
    const charts = await chartsOf(page);
    assert.ok(charts.length >= wanted.charts, `${charts.length} charts`);
    assert.equal(await page.evaluate(() => document.documentElement.dataset.charts), String(charts.length));
    for (const chart of charts) {
      assert.ok(chart.rows > 0, `${chart.caption}: a table`);
      assert.ok(chart.marks > 0, `${chart.caption}: not blank`);
      assert.ok(chart.marks >= Math.min(chart.rows, 3), `${chart.caption}: ${chart.marks} marks, ${chart.rows} rows`);
      assert.ok(chart.texts > 2, `${chart.caption}: labels`);
      assert.ok(chart.width > 200 && chart.width <= chart.room + 1, `${chart.caption}: ${chart.width} wide`);
    }
  }));

  test(`${name}: the answer first, then its sections, each linked`, () => on(name, {}, async page => {
    assert.ok((await page.locator('.answer').first().innerText()).length > 20);
    const ids = await page.locator('section').evaluateAll(all => all.map(s => s.id.replace(/-\d+$/, '')));
    for (const section of wanted.sections) assert.ok(ids.includes(section), `${section} of ${ids}`);
    const links = await page.locator('nav a').evaluateAll(all => all.map(a => a.getAttribute('href').slice(1)));
    const all = await page.locator('section').evaluateAll(every => every.map(s => s.id));
    assert.deepEqual(links, all);
    assert.equal(new Set(all).size, all.length, 'no name twice');
    assert.equal(await page.locator('h1').count(), await page.locator('article').count());
  }));

  test(`${name}: every table and choice is reached and opened by keyboard`, () => on(name, {}, async page => {
    const wantedStops = await page.locator('a, summary, select, details[open] .scroll, figure > .scroll').count();
    const seen = new Set();
    for (let i = 0; i < wantedStops + 40; ++i) {
      await page.keyboard.press('Tab');
      const stop = await page.evaluate(() => {
        const at = document.activeElement;
        if (at === document.body) return null;
        if (at.dataset.stop === undefined) at.dataset.stop = String(document.querySelectorAll('[data-stop]').length);
        return at.dataset.stop;
      });
      if (stop !== null) seen.add(stop);
      if (i === 0) assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
    }
    assert.ok(seen.size >= wantedStops, `${seen.size} stops of ${wantedStops}`);
    const closed = page.locator('details:not([open]) summary').first();
    if (await closed.count() > 0) {
      await closed.focus();
      const opened = await page.evaluate(() => document.querySelectorAll('details[open]').length);
      await page.keyboard.press('Enter');
      assert.equal(await page.evaluate(() => document.querySelectorAll('details[open]').length), opened + 1);
    }
  }));

  for (const dark of [false, true]) {
    test(`${name}: readable on a phone, ${dark ? 'dark' : 'light'}`, () => on(name, { width: 390, dark }, async (page, seen) => {
      assert.deepEqual(seen.errors, []);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= 390, 'no sideways scrolling');
      for (const chart of await chartsOf(page)) {
        assert.ok(chart.marks > 0 && chart.width <= chart.room + 1, `${chart.caption}: ${chart.width} of ${chart.room}`);
      }
      const colours = await page.evaluate(() => {
        const body = getComputedStyle(document.body);
        const label = document.querySelector('svg .role-axis-label text');
        return { paper: body.backgroundColor, ink: body.color, label: getComputedStyle(label).fill };
      });
      assert.ok(contrast(colours.paper, colours.ink) >= 7, JSON.stringify(colours));
      assert.ok(contrast(colours.paper, colours.label) >= 4.5, JSON.stringify(colours));
      assert.equal(contrast(colours.paper, 'rgb(255, 255, 255)') > 10, dark);
    }));
  }

  test(`${name}: prints black on white`, () => on(name, { dark: true }, async page => {
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    const style = await page.evaluate(() => ({
      ink: getComputedStyle(document.body).color,
      nav: getComputedStyle(document.querySelector('nav')).display,
      label: getComputedStyle(document.querySelector('svg .role-axis-label text')).fill,
    }));
    assert.deepEqual(style, { ink: 'rgb(0, 0, 0)', nav: 'none', label: 'rgb(0, 0, 0)' });
  }));
}

test('placement: another choice colours by another group', () => on('plan', {}, async page => {
  const figure = page.locator('section[id^=placement] figure', { has: page.locator('select') });
  const texts = () => figure.locator('.role-mark text').allTextContents();
  const before = await texts();
  assert.ok(before.length > 8);
  await figure.locator('select').selectOption({ index: 1 });
  assert.notDeepEqual(await texts(), before);
}));

test('names from files are text, never markup', () => on('hostile', {}, async (page, seen) => {
  assert.deepEqual(seen.errors, []);
  assert.match(await page.locator('h1').innerText(), /<script>alert\(1\)<\/script>/);
  assert.equal(await page.evaluate(() => document.querySelectorAll('img').length), 0);
}));

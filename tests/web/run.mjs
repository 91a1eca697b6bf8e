// Runs pages_test.mjs and counts its cases: node tests/web/run.mjs COUNTS_FILE; PAGES names the folder.
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

let passed = 0, failed = 0;
const counted = event => event.name !== fileURLToPath(testFile) && event.details?.type !== 'suite';
const testFile = new URL('./pages_test.mjs', import.meta.url);
const stream = run({ files: [fileURLToPath(testFile)], timeout: 600000 });
stream.on('test:pass', event => { if (counted(event)) ++passed; });
stream.on('test:fail', event => { if (counted(event)) ++failed; });
stream.on('end', () => {
  writeFileSync(process.argv[2], `${passed} ${failed}\n`);
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
});
stream.compose(spec).pipe(process.stdout);

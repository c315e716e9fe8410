// The JavaScript clients of the deepseek document: node deepseek.mjs file|stream BASE IMAGE.
// Both print text to stdout; the stream prints one line for each data line, and fails without [DONE].
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

async function fromFile(base, file) {
  const form = new FormData();
  form.append('file', file);
  form.append('prompt', '<image>\nFree OCR.');
  const response = await fetch(`${base}/ocr/file`, { method: 'POST', body: form });
  const result = await response.json();
  return result.text;
}

async function fromStream(base, file) {
  const form = new FormData();
  form.append('file', file);
  const response = await fetch(`${base}/ocr/stream`, { method: 'POST', body: form });
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error('the stream ended without [DONE]');
    for (const line of decoder.decode(value).split('\n')) {
      if (!line.startsWith('data: ')) continue;
      const text = line.slice(6);
      if (text === '[DONE]') return;
      console.log(text);
    }
  }
}

const [how, base, path] = process.argv.slice(2);
const file = new File([readFileSync(path)], basename(path), { type: 'image/jpeg' });
if (how === 'file') console.log(await fromFile(base, file));
else await fromStream(base, file);

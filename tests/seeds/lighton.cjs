// The JavaScript client of the lighton document: node lighton.cjs BASE IMAGE prints the text.
const fs = require('fs');

async function read(base, path) {
  const image = fs.readFileSync(path).toString('base64');
  const response = await fetch(`${base}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      model: 'LightOnOCR-1B-1025',
      messages: [{
        role: 'user',
        content: [
          { type: 'text', text: 'Extract all text from this image.' },
          { type: 'image_url', image_url: { url: `data:image/jpeg;base64,${image}` } },
        ],
      }],
      temperature: 0.1,
      max_tokens: 4096,
    }),
  });
  const result = await response.json();
  return result.choices[0].message.content;
}

read(process.argv[2], process.argv[3]).then((text) => console.log(text));

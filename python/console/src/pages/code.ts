/** The same call in the words of a shell, of Python and of Node. The key is never in it. */
export const LANGUAGES = [
  { value: 'curl', label: 'curl' },
  { value: 'python', label: 'Python' },
  { value: 'node', label: 'Node' },
];

export type Body = { model: string; [name: string]: unknown };

export function callIn(language: string, address: string, body: Body): string {
  switch (language) {
    case 'python':
      return [
        'import os',
        'from openai import OpenAI',
        '',
        `client = OpenAI(base_url=${JSON.stringify(`${address}/v1`)}, api_key=os.environ["FAIRLEAD_API_KEY"])`,
        `reply = client.chat.completions.create(`,
        ...Object.entries(body).map(([name, value]) => `    ${name}=${python(value)},`),
        ')',
        'print(reply.choices[0].message.content)',
      ].join('\n');
    case 'node':
      return [
        "import OpenAI from 'openai';",
        '',
        `const client = new OpenAI({ baseURL: ${JSON.stringify(`${address}/v1`)}, apiKey: process.env.FAIRLEAD_API_KEY });`,
        `const reply = await client.chat.completions.create(${JSON.stringify(body, null, 2)});`,
        'console.log(reply.choices[0].message.content);',
      ].join('\n');
    default:
      return [
        `curl ${address}/v1/chat/completions \\`,
        `  -H "Authorization: Bearer $FAIRLEAD_API_KEY" \\`,
        "  -H 'Content-Type: application/json' \\",
        `  -d '${JSON.stringify(body).replaceAll("'", "'\\''")}'`,
      ].join('\n');
  }
}

/** A JSON value as Python writes it. */
export function python(value: unknown): string {
  if (value === null || value === undefined) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (Array.isArray(value)) return `[${value.map(python).join(', ')}]`;
  if (typeof value === 'object')
    return `{${Object.entries(value)
      .map(([name, each]) => `${JSON.stringify(name)}: ${python(each)}`)
      .join(', ')}}`;
  return JSON.stringify(value);
}

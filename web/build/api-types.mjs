// Writes src/lib/api/schema.ts, the API's types, from the OpenAPI document that
// the hub's code describes itself by. Made anew by each build and each test, so
// that it cannot be stale; not committed.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const SOURCE = new URL('../../docs/reference/openapi.json', import.meta.url);
const TARGET = new URL('../src/lib/api/schema.ts', import.meta.url);
const REF = '#/components/schemas/';

/** A schema as a TypeScript type. What this does not know is an error, never `any`. */
export function typeOf(schema, where = 'schema') {
  if (schema.$ref) {
    if (!schema.$ref.startsWith(REF)) throw new Error(`${where}: what is ${schema.$ref}?`);
    return identifier(schema.$ref.slice(REF.length));
  }
  if (schema.oneOf || schema.anyOf) return union((schema.oneOf ?? schema.anyOf).map((one) => typeOf(one, where)));
  if (schema.allOf) return schema.allOf.map((one) => bracketed(typeOf(one, where))).join(' & ');
  if (schema.enum) return union(schema.enum.map((value) => JSON.stringify(value)));
  if (Array.isArray(schema.type)) return union(schema.type.map((type) => typeOf({ ...schema, type }, where)));
  switch (schema.type) {
    case 'string':
      return 'string';
    case 'number':
    case 'integer':
      return 'number';
    case 'boolean':
      return 'boolean';
    case 'null':
      return 'null';
    case 'array':
      return `${bracketed(typeOf(schema.items, `${where}[]`))}[]`;
    case 'object':
      return objectType(schema, where);
    case undefined:
      return 'unknown';
    default:
      throw new Error(`${where}: what is the type ${schema.type}?`);
  }
}

function objectType(schema, where) {
  if (!schema.properties) {
    const rest = schema.additionalProperties;
    return `Record<string, ${rest && rest !== true ? typeOf(rest, where) : 'unknown'}>`;
  }
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties).map(([name, property]) => {
    const key = /^[a-z_]\w*$/i.test(name) ? name : JSON.stringify(name);
    return `${comment(property, '  ')}  ${key}${required.has(name) ? '' : '?'}: ${typeOf(property, `${where}.${name}`)};`;
  });
  return `{\n${fields.join('\n')}\n}`;
}

const union = (types) => [...new Set(types)].join(' | ');
const bracketed = (type) => (/[|&]/.test(type) && !type.startsWith('{') ? `(${type})` : type);
const identifier = (name) => name.replace(/\W/g, '_');

function comment(schema, indent = '') {
  const text = schema.description?.replaceAll('*/', '* /').replace(/\s*\n\s*/g, ' ').trim();
  return text ? `${indent}/** ${text} */\n` : '';
}

/** The whole file. */
export function render(document) {
  const schemas = Object.entries(document.components.schemas).sort(([a], [b]) => (a < b ? -1 : 1));
  const types = schemas.map(
    ([name, schema]) => `${comment(schema)}export type ${identifier(name)} = ${typeOf(schema, name)};`,
  );
  return `// Made by build/api-types.mjs from docs/reference/openapi.json.\n\n${types.join('\n\n')}\n`;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const text = render(JSON.parse(readFileSync(SOURCE, 'utf8')));
  // Left alone when nothing changed, so that nothing is built anew for it.
  if (!existsSync(TARGET) || readFileSync(TARGET, 'utf8') !== text) writeFileSync(TARGET, text);
}

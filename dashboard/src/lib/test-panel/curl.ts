// Converts a request to a command line.

import { headersOf, type TestRequest } from './request';

/** Quotes a word for a POSIX shell. */
export function quoted(word: string): string {
	if (/^[\w@%+=:,./-]+$/.test(word)) return word;
	// Between single quotes, only the closing quote is special.
	return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** Returns the `curl` command that sends a request to the script's endpoint. */
export function curl(origin: string, endpoint: string, request: TestRequest): string {
	const { method, body } = request;
	const query = request.query.replace(/^\?/, '');
	const url = origin + (request.path || endpoint) + (query && `?${query}`);
	const words = ['curl'];
	// curl reads brackets and braces as patterns, and removes `.` and `..` from paths.
	if (/[[\]{}]/.test(url)) words.push('--globoff');
	if (/\/\.\.?(\/|$)/.test(request.path)) words.push('--path-as-is');
	if (method === 'HEAD' && body.kind === 'none') words.push('--head');
	else if (method !== 'GET' || body.kind !== 'none') words.push(`-X ${quoted(method)}`);
	words.push(quoted(url));
	for (const [name, value] of headersOf(request)) {
		// A header without a value is written with a semicolon.
		words.push(`-H ${quoted(value ? `${name}: ${value}` : `${name};`)}`);
	}
	if (body.kind === 'json' || body.kind === 'text') words.push(`--data-raw ${quoted(body.text)}`);
	if (body.kind === 'file') words.push(`--data-binary ${quoted(`@${body.name}`)}`);
	return words.join(' \\\n  ');
}

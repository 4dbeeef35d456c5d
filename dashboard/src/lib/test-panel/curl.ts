// A request as a command line.

import { headersOf, type TestRequest } from './request';

/** Quotes a word for a POSIX shell, where it means nothing but itself. */
export function quoted(word: string): string {
	if (/^[\w@%+=:,./-]+$/.test(word)) return word;
	// Nothing is special between single quotes, but the quote that ends them.
	return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** The `curl` that sends a request to where the script really answers. */
export function curl(origin: string, endpoint: string, request: TestRequest): string {
	const { method, body } = request;
	const query = request.query.replace(/^\?/, '');
	const url = origin + (request.path || endpoint) + (query && `?${query}`);
	const words = ['curl'];
	// Brackets and braces are patterns to curl, and dots are taken out of paths.
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

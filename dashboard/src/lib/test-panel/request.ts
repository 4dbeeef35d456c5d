// The request of a test.

import type { Schema } from '$lib/api/client';
import { wrongJson } from '$lib/ui/json';

export const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'] as const;

/** The body of a request. */
export type Body =
	| { kind: 'none' }
	| { kind: 'json' | 'text'; text: string }
	/** A stored request has only the name of the file, not its content. */
	| { kind: 'file'; name: string; type: string; content?: File };

/** A test request. */
export interface TestRequest {
	method: string;
	/** The path; empty for the script's own endpoint. */
	path: string;
	/** The query without the question mark. */
	query: string;
	/** The typed headers. A header without a name is not sent. */
	headers: { name: string; value: string }[];
	body: Body;
}

/** Returns the request that the form starts with. */
export function newRequest(): TestRequest {
	return { method: 'GET', path: '', query: '', headers: [], body: { kind: 'none' } };
}

/** Returns the headers to send: the typed ones, and a content type if they have none. */
export function headersOf({ headers, body }: TestRequest): [string, string][] {
	const sent = headers
		.map(({ name, value }): [string, string] => [name.trim(), value.trim()])
		.filter(([name]) => name !== '');
	const type = contentType(body);
	const isSaid = sent.some(([name]) => name.toLowerCase() === 'content-type');
	return type && !isSaid ? [...sent, ['content-type', type]] : sent;
}

function contentType(body: Body): string | undefined {
	if (body.kind === 'json') return 'application/json';
	if (body.kind === 'text') return 'text/plain; charset=utf-8';
	if (body.kind === 'file') return body.type || 'application/octet-stream';
	return undefined;
}

/** Returns why a request cannot be sent; `undefined` if it can. */
export function wrongWith({ body }: TestRequest): string | undefined {
	if (body.kind === 'json') return wrongJson(body.text);
	if (body.kind === 'file' && !body.content) {
		return body.name ? `Choose ${body.name} again: files are not stored.` : 'Choose a file.';
	}
	return undefined;
}

/** Converts a request for the API. */
export async function toApi(request: TestRequest): Promise<Schema['ExecuteRequest']> {
	const { method, path, body } = request;
	const query = request.query.replace(/^\?/, '');
	const envelope = { method, path, query, headers: headersOf(request) };
	if (body.kind === 'file' && body.content) {
		const bytes = new Uint8Array(await body.content.arrayBuffer());
		return { ...envelope, body: toBase64(bytes), body_encoding: 'base64' };
	}
	const text = body.kind === 'json' || body.kind === 'text' ? body.text : '';
	return { ...envelope, body: text, body_encoding: 'text' };
}

function toBase64(bytes: Uint8Array): string {
	let text = '';
	// In chunks, because the number of arguments is limited.
	for (let start = 0; start < bytes.length; start += 0x8000) {
		text += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
	}
	return btoa(text);
}

/** Converts a captured request, as the log of executions has it. */
export function fromCaptured(event: unknown): TestRequest {
	const kept = event as Schema['RecordedRequest'];
	const headers = (kept.headers ?? []).filter(([name = '']) => !OF_THE_CONNECTION.includes(name));
	return {
		method: kept.method ?? 'GET',
		path: kept.path ?? '',
		query: new URLSearchParams(kept.query ?? []).toString(),
		headers: headers.map(([name = '', value = '']) => ({
			name,
			value: value === MASK ? '' : value
		})),
		body: bodyOf(kept.body)
	};
}

/** Whether the whole body of a captured request is stored. */
export function isWhole(event: unknown): boolean {
	const { body, body_bytes } = event as Schema['RecordedRequest'];
	if (!body_bytes) return true;
	return typeof body === 'string' && new TextEncoder().encode(body).length === body_bytes;
}

/** The mask that the log has in place of a credential. */
const MASK = '***';
/** Headers that every request sets itself. */
const OF_THE_CONNECTION = ['host', 'connection', 'content-length', 'transfer-encoding', 'expect'];

function bodyOf(body: string | null | undefined): Body {
	if (!body) return { kind: 'none' };
	return { kind: wrongJson(body) ? 'text' : 'json', text: body };
}

// A request that somebody puts together to try a script with.

import type { Schema } from '$lib/api/client';

export const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'] as const;

/** What a request carries. */
export type Body =
	| { kind: 'none' }
	| { kind: 'json' | 'text'; text: string }
	/** A file of a request that was kept has only its name: its content was not kept. */
	| { kind: 'file'; name: string; type: string; content?: File };

/** A request to be sent. */
export interface TestRequest {
	method: string;
	/** The script's own endpoint when empty. */
	path: string;
	/** Without the question mark. */
	query: string;
	/** Rows, as they are typed; those without a name are not sent. */
	headers: { name: string; value: string }[];
	body: Body;
}

/** What a form begins with. */
export function newRequest(): TestRequest {
	return { method: 'GET', path: '', query: '', headers: [], body: { kind: 'none' } };
}

/** The headers that are sent: those that were typed, and what the body is if they do not say. */
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

/** Why a request cannot be sent as it is. */
export function wrongWith({ body }: TestRequest): string | undefined {
	if (body.kind === 'json') return wrongJson(body.text);
	if (body.kind === 'file' && !body.content) {
		return body.name ? `Choose ${body.name} again: files are not kept.` : 'Choose a file.';
	}
	return undefined;
}

/** What is wrong with a text as JSON. */
export function wrongJson(text: string): string | undefined {
	try {
		JSON.parse(text);
		return undefined;
	} catch (error) {
		return `This is not JSON: ${(error as Error).message}`;
	}
}

/** A request as the API takes it. */
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
	// An argument list has a length that it cannot exceed.
	for (let start = 0; start < bytes.length; start += 0x8000) {
		text += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
	}
	return btoa(text);
}

/** A request that really was made, as the log of executions has kept it. */
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

/** Whether all of the body of a captured request was kept. */
export function isWhole(event: unknown): boolean {
	const { body, body_bytes } = event as Schema['RecordedRequest'];
	if (!body_bytes) return true;
	return typeof body === 'string' && new TextEncoder().encode(body).length === body_bytes;
}

/** What the log has in the place of what lets somebody in. */
const MASK = '***';
/** Headers that the next request has of its own. */
const OF_THE_CONNECTION = ['host', 'connection', 'content-length', 'transfer-encoding', 'expect'];

function bodyOf(body: string | null | undefined): Body {
	if (!body) return { kind: 'none' };
	return { kind: wrongJson(body) ? 'text' : 'json', text: body };
}

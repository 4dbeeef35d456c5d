// What a script answered, as it can be shown.

import type { Schema } from '$lib/api/client';

type Response = Schema['ExecuteResponse'];

/** An answer's body. */
export type Shown =
	| { kind: 'empty' }
	| { kind: 'json'; value: unknown }
	| { kind: 'text'; text: string }
	| { kind: 'image' | 'binary'; blob: Blob };

const IMAGES = /^image\/(png|jpeg|gif|webp|avif|svg\+xml)$/;

/** Decides by content type, and by whether the body is what that says. */
export function shown(response: Response): Shown {
	if (response.body === '') return { kind: 'empty' };
	const type = contentType(response);
	const text = response.body_encoding === 'text' ? response.body : undefined;
	if (IMAGES.test(type)) return { kind: 'image', blob: blobOf(response) };
	if (text === undefined) return { kind: 'binary', blob: blobOf(response) };
	if (type === 'application/json' || type.endsWith('+json')) {
		try {
			return { kind: 'json', value: JSON.parse(text) };
		} catch {
			return { kind: 'text', text };
		}
	}
	return { kind: 'text', text };
}

/** The body as a file. */
export function blobOf(response: Response): Blob {
	const { body, body_encoding } = response;
	const content =
		body_encoding === 'base64'
			? Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0))
			: body;
	return new Blob([content], { type: contentType(response) });
}

/** The media type, without parameters. */
function contentType(response: Response): string {
	const header = response.headers.find(([name]) => name?.toLowerCase() === 'content-type');
	return (header?.[1] ?? '').split(';')[0]!.trim().toLowerCase();
}

/** A line of the log; what was logged with it comes as JSON text. */
export function readLog(log: readonly unknown[]): unknown[] {
	return log.map((line) => {
		const { data, ...rest } = line as { data?: string };
		if (data === undefined) return rest;
		try {
			return { ...rest, data: JSON.parse(data) as unknown };
		} catch {
			return { ...rest, data };
		}
	});
}

// The response of a script, for display.

import type { Schema } from '$lib/api/client';

type Response = Schema['ExecuteResponse'];

/** The body of a response. */
export type Shown =
	| { kind: 'empty' }
	| { kind: 'json'; value: unknown }
	| { kind: 'text'; text: string }
	| { kind: 'image'; address: string; size: number }
	| { kind: 'binary'; size: number };

/** Raster images only: an SVG is a document and can contain scripts. */
const IMAGES = /^image\/(png|jpeg|gif|webp|avif)$/;

/** Reads the body by its content type, if it matches that. */
export function shown(response: Response): Shown {
	if (response.body === '') return { kind: 'empty' };
	const type = contentType(response);
	const text = response.body_encoding === 'text' ? response.body : undefined;
	if (text === undefined) {
		const size = bytesOf(response).length;
		if (!IMAGES.test(type)) return { kind: 'binary', size };
		// A data: URL never has the dashboard's origin. A blob: URL always has.
		return { kind: 'image', address: `data:${type};base64,${response.body}`, size };
	}
	if (type === 'application/json' || type.endsWith('+json')) {
		try {
			return { kind: 'json', value: JSON.parse(text) };
		} catch {
			return { kind: 'text', text };
		}
	}
	return { kind: 'text', text };
}

/** Saves the body as a file. Its URL never has a type that a browser would show. */
export function save(response: Response, name: string) {
	const blob = new Blob([bytesOf(response)], { type: 'application/octet-stream' });
	const link = document.createElement('a');
	link.href = URL.createObjectURL(blob);
	link.download = name;
	link.click();
	URL.revokeObjectURL(link.href);
}

function bytesOf({ body, body_encoding }: Response): Uint8Array<ArrayBuffer> {
	if (body_encoding === 'text') return new TextEncoder().encode(body);
	return Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
}

/** Returns the media type without parameters. */
export function contentType(response: Response): string {
	const header = response.headers.find(([name]) => name?.toLowerCase() === 'content-type');
	return (header?.[1] ?? '').split(';')[0]!.trim().toLowerCase();
}

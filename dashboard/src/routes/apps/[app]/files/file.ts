/** What is known about a file, as an entry of a bucket has it. */
export interface File {
	size?: number;
	content_type?: string;
	sha256?: string;
}

/** Reads the value of a bucket's entry. */
export function fileOf(value: unknown): File {
	return typeof value === 'object' && value !== null ? value : {};
}

/** Where the API has a file. A path's slashes are a part of its name. */
export function filePath(app: string, bucket: string, path: string): string {
	const parts = [app, 'files', bucket, path].map(encodeURIComponent);
	return `/api/v1/apps/${parts.join('/')}`;
}

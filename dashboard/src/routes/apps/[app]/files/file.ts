/** Returns the API path of a file. The slashes of the file's path are encoded. */
export function filePath(app: string, bucket: string, path: string): string {
	const parts = [app, 'files', bucket, path].map(encodeURIComponent);
	return `/api/v1/apps/${parts.join('/')}`;
}

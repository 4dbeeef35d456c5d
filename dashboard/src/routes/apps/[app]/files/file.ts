/** Where the API has a file. A path's slashes are a part of its name. */
export function filePath(app: string, bucket: string, path: string): string {
	const parts = [app, 'files', bucket, path].map(encodeURIComponent);
	return `/api/v1/apps/${parts.join('/')}`;
}

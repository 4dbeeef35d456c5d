/** Returns a handler that reads the body and sends the result of `respond`. */
export function answer(respond) {
	return (request, response) => {
		let body = '';
		request.setEncoding('utf8');
		request.on('data', (chunk) => (body += chunk));
		request.on('end', () => {
			response.setHeader('content-type', 'application/json');
			response.end(respond(body));
		});
	};
}

/** Listens on a free port and prints its URL. */
export function listen(server) {
	server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
}

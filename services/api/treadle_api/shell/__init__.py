"""What is around the routes: the user's own app, CORS, the mount, HEAD, headers that runs and logs get to see."""

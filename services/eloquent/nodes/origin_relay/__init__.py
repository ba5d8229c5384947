"""The origin relay: answers from the token server, by Eloquent to the edge relays."""

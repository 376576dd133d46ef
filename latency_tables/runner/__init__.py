"""The program that times models on phones and boards: built here, brought there, asked over a shell."""

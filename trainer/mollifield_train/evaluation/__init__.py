"""What errors on labelled frames say: tables, pictures, and whether one model is better than another."""
